"""The Vercel AI SDK, by its provider for OpenAI and by the one for compatible servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.leaving import Endless, last_hold, slot_taken
from tests.conformance.scripts import answered, broken_off, held, paused, played
from tests.conformance.wire import refusals
from tests.support.node import Program
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, completion, delta, event, streamed

SCRIPT = Path(__file__).parent / "data" / "vercel_ai.mjs"
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def program(node_modules: Path) -> Iterator[Program]:
    running = Program(SCRIPT)
    yield running
    running.close()


@pytest.fixture(params=["compatible", "openai"])
def ask(request: pytest.FixtureRequest, program: Program) -> Ask:
    """One call by one provider; what became of it."""

    def call(server: Server, *, key: str = "", path: str = "/v1", **more: Any) -> dict[str, Any]:
        job = {"provider": request.param, "url": server.root + path, "key": key or server.key, **more}
        result: dict[str, Any] = program.ask(job)
        return result

    return call


def test_a_stream_with_its_usage(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    upstream.script = streamed(["Hello", " there", "!"], prompt=9, output=3)
    got = ask(server)
    assert (got["text"], got["reason"], got["error"]) == ("Hello there!", "stop", None)
    assert (got["usage"]["inputTokens"], got["usage"]["outputTokens"]) == (9, 3)
    hold = last_hold(server)
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("upstream", 9, 3)


def test_a_whole_answer(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    upstream.script = answered(completion("Hello there!", 9, 3))
    got = ask(server, stream=False)
    assert (got["text"], got["reason"], got["usage"]["totalTokens"]) == ("Hello there!", "stop", 12)


def test_an_error_that_is_null_costs_no_text(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
    upstream.script = played(event({"error": None, "choices": [choice]}), delta(None, finish="stop"), DONE)
    got = ask(server)
    assert (got["text"], got["error"]) == ("Hello", None)


def test_tools_there_and_back(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    upstream.queue = [
        played(
            delta(None, role="assistant", content=None, tool_calls=[first]),
            delta(None, tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
            delta(None, tool_calls=[{"index": 0, "function": {"arguments": '"Rome"}'}}]),
            delta(None, finish="tool_calls"),
            DONE,
        ),
        streamed(["Clear."]),
    ]
    got = ask(server, tool=True)
    assert got["calls"] == [["call_1", "weather", {"city": "Rome"}]]
    assert (got["text"], got["reason"]) == ("Clear.", "stop")
    offered, returned = upstream.seen[0].body["tools"], upstream.seen[1].body["messages"]
    assert [each["function"]["name"] for each in offered] == ["weather"]
    assert returned[-2]["tool_calls"][0]["id"] == returned[-1]["tool_call_id"] == "call_1"
    assert json.loads(returned[-1]["content"]) == {"city": "Rome", "sky": "clear"}


def test_silence_is_filled_without_harm(restless: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    upstream.script = paused(0.4)
    got = ask(restless)
    assert (got["text"], got["reason"], got["error"]) == ("Hello", "stop", None)


def test_an_error_in_the_middle_is_shown_and_not_tried_again(
    server: Server, upstream: ScriptedUpstream, ask: Ask
) -> None:
    upstream.script = broken_off(delta("Hel", role="assistant"))
    got = ask(server)
    assert got["text"] == "Hel"
    assert "in the middle" in got["error"]["message"]
    assert got["reason"] == "error"
    assert len(upstream.seen) == 1


def test_an_error_before_the_first_byte(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    got = ask(server, model="tesst")
    error = got["error"]
    assert (error["name"], error["status"], error["code"]) == ("AI_APICallError", 404, "model_not_found")
    assert "'test'" in error["message"]
    assert upstream.seen == []


def test_no_balance_is_said_once(
    server: Server, upstream: ScriptedUpstream, ask: Ask, request: pytest.FixtureRequest
) -> None:
    name = f"vercel-poor-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--surface", "prepaid")["key"]
    before = refusals(server, "insufficient_balance")
    error = ask(server, key=key, path="/prepaid/v1", maxOutputTokens=4000)["error"]
    assert (error["status"], error["code"], error["tries"]) == (402, "insufficient_balance", 1)
    assert f"streamrouter topup {name}" in error["message"]
    assert (refusals(server, "insufficient_balance") - before, upstream.seen) == (1, [])


def test_a_429_for_the_day_is_tried_again_in_vain(
    server: Server, upstream: ScriptedUpstream, ask: Ask, request: pytest.FixtureRequest
) -> None:
    """This SDK knows no ``x-should-retry``: it tries a 429 three times, whatever it is for."""
    key = server.user(f"vercel-day-{request.node.callspec.id}", "--daily-input", "1")
    before = refusals(server, "daily_input_tokens_exceeded")
    error = ask(server, key=key, hurry=True)["error"]
    assert (error["status"], error["code"], error["tries"]) == (429, "daily_input_tokens_exceeded", 3)
    assert (refusals(server, "daily_input_tokens_exceeded") - before, upstream.seen) == (3, [])


def test_a_429_for_concurrency_is_tried_again_and_succeeds(
    server: Server, upstream: ScriptedUpstream, ask: Ask, request: pytest.FixtureRequest
) -> None:
    name = f"vercel-one-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--concurrency", "1")["key"]
    release = threading.Event()
    upstream.queue = [held(release), streamed(["Second."])]
    with slot_taken(server, key, release):
        got = ask(server, key=key)
    assert (got["text"], got["error"]) == ("Second.", None)


def test_an_abort_reaches_the_upstream_and_is_charged(server: Server, upstream: ScriptedUpstream, ask: Ask) -> None:
    upstream.script = endless = Endless()
    got = ask(server, abortAfter=2)
    assert (got["text"], got["aborted"], got["error"]) == (" token token", True, None)
    endless.assert_charged(server)
