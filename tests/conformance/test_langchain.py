"""LangChain's ChatOpenAI, blocking and asynchronous: it goes through the official SDK and puts its own loop on top."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.conformance.leaving import Endless, last_hold, slot_taken
from tests.conformance.scripts import answered, broken_off, held, paused, played
from tests.conformance.wire import refusals
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, completion, delta, streamed

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PROMPT = "Say hello."


class Chain:
    """One model in the blocking or in the asynchronous way."""

    def __init__(self, kind: str, server: Server, *, key: str = "", path: str = "/v1", **more: Any) -> None:
        self._async = kind == "async"
        self._clients = (openai.DefaultHttpxClient(), openai.DefaultAsyncHttpxClient())  # its own are never closed
        self.model = ChatOpenAI(
            api_key=SecretStr(key or server.key),
            base_url=server.root + path,
            http_client=self._clients[0],
            http_async_client=self._clients[1],
            **{"model": "test", "stream_usage": True, "timeout": 20, **more},
        )

    async def close(self) -> None:
        self._clients[0].close()
        await self._clients[1].aclose()

    async def pieces(self, asked: Any = PROMPT, *, tools: list[Any] | None = None) -> AsyncIterator[AIMessageChunk]:
        """The chunks of ``stream`` or ``astream``, which is closed with this generator."""
        runnable: Any = self.model.bind_tools(tools) if tools else self.model
        if self._async:
            stream = runnable.astream(asked)
            try:
                async for piece in stream:
                    yield piece
            finally:
                await stream.aclose()
        else:
            stream = runnable.stream(asked)
            try:
                for piece in stream:
                    yield piece
            finally:
                stream.close()

    async def streamed(self, asked: Any = PROMPT, *, tools: list[Any] | None = None) -> AIMessageChunk:
        """All chunks, added up as LangChain adds them."""
        whole: AIMessageChunk | None = None
        async for piece in self.pieces(asked, tools=tools):
            whole = piece if whole is None else whole + piece
        assert whole is not None
        return whole

    async def invoke(self) -> AIMessage:
        return await self.model.ainvoke(PROMPT) if self._async else self.model.invoke(PROMPT)


Make = Callable[..., Chain]


@pytest.fixture(params=["sync", "async"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Make models of one kind; all are closed at the end."""
    made: list[Chain] = []

    def chain(server: Server, **more: Any) -> Chain:
        made.append(Chain(request.param, server, **more))
        return made[-1]

    yield chain
    for each in made:
        await each.close()


async def test_a_stream_with_its_usage_once(server: Server, upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = streamed(["Hello", " there", "!"], prompt=9, output=3)
    got = await make(server).streamed()
    assert got.content == "Hello there!"
    assert got.usage_metadata is not None  # summed over the chunks: twice would be the double
    assert (got.usage_metadata["input_tokens"], got.usage_metadata["output_tokens"]) == (9, 3)
    assert (got.response_metadata["finish_reason"], got.response_metadata["model_name"]) == ("stop", "test")
    hold = last_hold(server)
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("upstream", 9, 3)


async def test_a_whole_answer(server: Server, upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = answered(completion("Hello there!", 9, 3))
    got = await make(server).invoke()
    assert got.content == "Hello there!"
    assert got.usage_metadata is not None
    assert got.usage_metadata["total_tokens"] == 12


async def test_tools_there_and_back(server: Server, upstream: ScriptedUpstream, make: Make) -> None:
    def piece(arguments: str) -> bytes:
        return delta(None, tool_calls=[{"index": 0, "function": {"arguments": arguments}}])

    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    upstream.queue = [
        played(
            delta(None, role="assistant", content=None, tool_calls=[first]),
            piece('{"city":'),
            piece('"Rome"}'),
            delta(None, finish="tool_calls"),
            DONE,
        ),
        streamed(["Clear."]),
    ]
    chain = make(server)
    asking = await chain.streamed(tools=[WEATHER])
    (called,) = asking.tool_calls
    assert (called["id"], called["name"], called["args"]) == ("call_1", "weather", {"city": "Rome"})
    final = await chain.streamed([HumanMessage(PROMPT), asking, ToolMessage("clear", tool_call_id="call_1")])
    assert final.content == "Clear."
    offered, returned = upstream.seen[0].body["tools"], upstream.seen[1].body["messages"]
    assert [each["function"]["name"] for each in offered] == ["weather"]
    assert returned[1]["tool_calls"][0]["id"] == returned[2]["tool_call_id"] == "call_1"


async def test_silence_is_filled_without_harm(restless: Server, upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = paused(0.4)
    got = await make(restless).streamed()
    assert (got.content, got.response_metadata["finish_reason"]) == ("Hello", "stop")


async def test_an_error_in_the_middle_is_raised_and_not_tried_again(
    server: Server, upstream: ScriptedUpstream, make: Make
) -> None:
    upstream.script = broken_off(delta("Hel", role="assistant"))
    got = []
    with pytest.raises(openai.APIError, match="in the middle") as caught:
        async for piece in make(server).pieces():
            got.append(piece.content)
    assert (caught.value.code, "".join(map(str, got)), len(upstream.seen)) == ("upstream_disconnected", "Hel", 1)


@pytest.mark.parametrize(("surface", "status"), [("prepaid", 402), ("prepaid429", 429)])
async def test_no_balance_is_said_once(
    server: Server, upstream: ScriptedUpstream, make: Make, surface: str, status: int, request: Any
) -> None:
    name = f"chain-poor-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--surface", surface)["key"]
    before = refusals(server, "insufficient_balance")
    with pytest.raises(openai.APIStatusError) as caught:
        await make(server, key=key, path=f"/{surface}/v1", max_tokens=4000).streamed()
    assert (caught.value.status_code, caught.value.code) == (status, "insufficient_balance")
    assert f"streamrouter topup {name}" in caught.value.message
    assert (refusals(server, "insufficient_balance") - before, upstream.seen) == (1, [])


async def test_a_429_for_the_day_is_not_tried_again(
    server: Server, upstream: ScriptedUpstream, make: Make, request: pytest.FixtureRequest
) -> None:
    key = server.user(f"chain-day-{request.node.callspec.id}", "--daily-input", "1")
    before = refusals(server, "daily_input_tokens_exceeded")
    with pytest.raises(openai.RateLimitError) as caught:
        await make(server, key=key).streamed()
    assert caught.value.code == "daily_input_tokens_exceeded"
    assert (refusals(server, "daily_input_tokens_exceeded") - before, upstream.seen) == (1, [])


async def test_a_429_for_concurrency_is_tried_again_and_succeeds(
    server: Server, upstream: ScriptedUpstream, make: Make, request: pytest.FixtureRequest
) -> None:
    name = f"chain-one-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--concurrency", "1")["key"]
    release = threading.Event()
    upstream.queue = [held(release), streamed(["Second."])]
    with slot_taken(server, key, release):
        got = await make(server, key=key).streamed()
    assert got.content == "Second."


async def test_leaving_reaches_the_upstream_and_is_charged(
    server: Server, upstream: ScriptedUpstream, make: Make
) -> None:
    upstream.script = endless = Endless()
    pieces, got = make(server).pieces(), ""
    async for piece in pieces:
        got += str(piece.content)
        if got == " token token":
            break
    await pieces.aclose()  # type: ignore[attr-defined]
    await asyncio.to_thread(endless.assert_charged, server)
