"""The official OpenAI Python SDK, sync and async: what succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.leaving import Endless
from tests.conformance.scripts import answered, played
from tests.conformance.sdk import MESSAGES, Sdk, settled
from tests.support.server import Server
from tests.support.upstream import (
    DONE,
    ScriptedUpstream,
    Seen,
    completion,
    delta,
    event,
    streamed,
    usage,
)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


Connect = Callable[..., Sdk]


async def test_a_completion(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.script = answered(completion("Hello there!", 9, 3))
    answer = await connect(server).create(temperature=0.5, max_tokens=20, user="u-1")
    assert answer.choices[0].message.content == "Hello there!"
    assert (answer.model, answer.object, answer.choices[0].finish_reason) == ("test", "chat.completion", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (9, 3, 12)
    assert answer._request_id == answer.request_id  # the header's and the body's
    sent = upstream.seen[0].body
    assert (sent["temperature"], sent["max_tokens"], sent["user"]) == (0.5, 20, "u-1")


async def test_a_stream(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.script = streamed(["Hello", " there", "!"])
    chunks = await connect(server).create(stream=True)
    # The naive loop that most programs have: every chunk has a choice, every choice a delta.
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there!"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert {(chunk.model, chunk.object) for chunk in chunks} == {("test", "chat.completion.chunk")}
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_with_usage_has_it_once_and_last(
    server: Server, upstream: ScriptedUpstream, connect: Connect
) -> None:
    upstream.script = streamed(["Hello", " there"], prompt=11, output=2)
    chunks = await connect(server).create(stream=True, stream_options={"include_usage": True})
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (11, 2)


async def test_tools_in_a_stream_are_put_together_by_the_helper(
    server: Server, upstream: ScriptedUpstream, connect: Connect
) -> None:
    def piece(index: int, arguments: str, **more: Any) -> bytes:
        call = {"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}
        return delta(None, tool_calls=[call])

    first = {"id": "call_a", "type": "function", "function": {"name": "weather"}}
    second = {"id": "call_b", "type": "function", "function": {"name": "weather"}}
    upstream.script = played(
        delta(None, role="assistant", content=None),
        piece(0, "", **first),
        piece(0, '{"city":'),
        piece(0, '"Rome"}'),
        piece(1, "", **second),
        piece(1, '{"city":"Oslo"}'),
        delta(None, finish="tool_calls"),
        DONE,
    )
    final = await connect(server).helper(tools=TOOLS, tool_choice="required")
    calls = final.choices[0].message.tool_calls
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("call_a", "weather", '{"city":"Rome"}'),
        ("call_b", "weather", '{"city":"Oslo"}'),
    ]
    assert final.choices[0].finish_reason == "tool_calls"
    assert upstream.seen[0].body["tools"] == TOOLS


async def test_n_answers_in_one(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    whole = completion("One.", 9, 4)
    whole["choices"].append({**whole["choices"][0], "index": 1, "message": {"role": "assistant", "content": "Two."}})
    upstream.script = answered(whole)
    answer = await connect(server).create(n=2)
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [(0, "One."), (1, "Two.")]
    assert upstream.seen[0].body["n"] == 2


async def test_n_answers_in_one_stream(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.script = played(
        delta("On", role="assistant"),
        delta("Tw", index=1, role="assistant"),
        delta("o.", index=1),
        delta("e.", finish="stop"),
        delta(None, index=1, finish="stop"),
        event({"choices": [], "usage": usage(9, 4)}),
        DONE,
    )
    final = await connect(server).helper(n=2, stream_options={"include_usage": True})
    assert [(choice.message.content, choice.finish_reason) for choice in final.choices] == [
        ("One.", "stop"),
        ("Two.", "stop"),
    ]
    assert final.usage.completion_tokens == 4


async def test_the_model_list_and_a_model_with_a_slash(server: Server, connect: Connect) -> None:
    sdk = connect(server)
    models = await sdk.models()
    assert [model.id for model in models][:2] == ["test", "other/model:1"]
    assert {model.object for model in models} == {"model"}
    one = await sdk.model("other/model:1")
    assert (one.id, one.owned_by) == ("other/model:1", "streamrouter")
    assert models[0].context_length == 128_000


@pytest.mark.parametrize("stream", [False, True])
async def test_raw_headers(server: Server, upstream: ScriptedUpstream, connect: Connect, stream: bool) -> None:
    upstream.script = streamed(["Hi."]) if stream else answered(completion("Hi."))
    raw = await connect(server).raw(stream=stream, extra_headers={"x-client-request-id": "mine-1"})
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-client-request-id"] == "mine-1"
    assert raw.headers["x-streamrouter-upstream"] == "main"
    assert upstream.seen[0].headers["x-request-id"] == raw.headers["x-request-id"]
    answer = raw.parse()
    if stream:
        chunks = [c async for c in answer] if hasattr(answer, "__aiter__") else list(answer)
        assert chunks[0].request_id == raw.headers["x-request-id"]
    else:
        assert answer.request_id == raw.headers["x-request-id"]


async def test_what_is_left_today_stands_in_the_headers(
    server: Server, upstream: ScriptedUpstream, connect: Connect, request: pytest.FixtureRequest
) -> None:
    upstream.script = answered(completion("Hi.", 9, 2))
    key = server.user(f"left-{request.node.callspec.id}", "--daily-output", "5000", "--requests-per-minute", "60")
    raw = await connect(server, key=key).raw(max_tokens=100)
    assert raw.headers["x-ratelimit-limit-output-tokens"] == "5000"
    assert raw.headers["x-ratelimit-remaining-output-tokens"] == "4900"  # 100 are held until it is settled
    assert raw.headers["x-ratelimit-limit-requests"] == "60"
    assert raw.headers["x-ratelimit-reset-output-tokens"].endswith("s")
    assert "x-ratelimit-limit-input-tokens" not in raw.headers


async def test_silence_is_filled_without_harm(restless: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await asyncio.sleep(0.4)
        await seen.chunk(delta("Hel", role="assistant"))
        await asyncio.sleep(0.4)
        await seen.chunk(delta("lo"))
        await seen.chunk(delta(None, finish="stop"))
        await seen.chunk(event({"choices": [], "usage": usage(9, 2)}))
        await seen.chunk(DONE)
        await seen.end()

    upstream.script = script
    sdk = connect(restless)
    chunks = await sdk.create(stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert len(chunks) >= 5  # three of the upstream's, one at least for either silence
    final = await sdk.helper()
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == ("Hello", "stop")


async def test_leaving_a_stream_reaches_the_upstream_and_is_charged(
    server: Server, upstream: ScriptedUpstream, connect: Connect
) -> None:
    upstream.script = endless = Endless()
    stream = await settled(connect(server).client.chat.completions.create(model="test", messages=MESSAGES, stream=True))
    got, chunks = "", stream.__aiter__() if hasattr(stream, "__aiter__") else iter(stream)
    while got != " token token":
        chunk = await anext(chunks) if hasattr(chunks, "__anext__") else next(chunks)
        got += chunk.choices[0].delta.content or ""
    await settled(stream.close())
    await asyncio.to_thread(endless.assert_charged, server)
