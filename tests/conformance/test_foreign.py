"""In front of a server that this project did not write (stubllm, from PyPI), and in front of ourselves: two hops."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.schemas import chunk_faults, faults
from tests.conformance.wire import call, content, events, post, request
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream, completion, streamed

TEXT = "Grüße: a foreign server said this, word by word.\nAnd a second line. 🦊"
FIXTURES = [
    {
        "name": "error",
        "match": {"messages": [{"role": "user", "content": {"contains": "fail please"}}]},
        "response": {"http_status": 503, "error_message": "overloaded at 10.0.0.7"},
    },
    {
        "name": "tool",
        "match": {"tools_present": True},
        "response": {"tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}]},
    },
    {
        "name": "text",
        "match": {},
        "response": {
            "content": TEXT,
            "stream_chunk_delay_ms": 1,
            "usage": {"prompt_tokens": 9, "completion_tokens": 17, "total_tokens": 26},
        },
    },
]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
# Its own way to be embedded: its application, in uvicorn, on a socket that listens already.
RUN = """
import pathlib, sys, uvicorn
from stubllm.server import create_app
uvicorn.run(create_app(fixture_files=[pathlib.Path(sys.argv[2])]), fd=int(sys.argv[1]), log_level="warning")
"""
CONFIG = """
[upstreams.main]
base_url = "{url}"
api_key = "{key}"

[models.test]
upstream_model = "{model}"
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running stubllm."""
    fixtures = tmp_path_factory.mktemp("stubllm") / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", RUN, str(listener.fileno()), str(fixtures)]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()], cwd=fixtures.parent)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def before_foreign(start: Callable[..., Server], foreign: str) -> Server:
    return start(config=CONFIG.format(url=foreign, key="any", model="gpt-4o"))


def change(server: Server, before: dict[str, Any]) -> tuple[int, int]:
    """Input and output tokens that were charged since."""
    now = server.usage()
    assert (now["in_flight"], now["input"]["reserved"], now["output"]["reserved"]) == (0, 0, 0)
    return now["input"]["used"] - before["input"]["used"], now["output"]["used"] - before["output"]["used"]


async def test_a_foreign_completion(before_foreign: Server) -> None:
    before = before_foreign.usage()
    status, headers, text = await post(before_foreign, call(stream=False))
    body = json.loads(text)
    assert (status, body["choices"][0]["message"]["content"]) == (200, TEXT)
    assert (body["model"], body["request_id"]) == ("test", headers["x-request-id"])
    assert body["system_fingerprint"] == "stubllm"
    assert change(before_foreign, before) == (9, 17)  # what it reported
    assert before_foreign.requests()[-1]["usage_source"] == "upstream"


@pytest.mark.parametrize("asked", [False, True])
async def test_a_foreign_stream_without_usage_is_counted_here(before_foreign: Server, asked: bool) -> None:
    before = before_foreign.usage()
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    status, _, text = await post(before_foreign, call(**options))
    got = events(text)
    assert (status, content(got), got[-1]) == (200, TEXT, "[DONE]")
    assert chunk_faults(got) == []
    assert {chunk["model"] for chunk in got[:-1]} == {"test"}
    charged = change(before_foreign, before)
    assert before_foreign.requests()[-1]["usage_source"] == "local"
    assert 10 <= charged[1] <= len(TEXT)
    told = [(c["usage"]["prompt_tokens"], c["usage"]["completion_tokens"]) for c in got[:-1] if c.get("usage")]
    assert told == ([charged] if asked else [])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_foreign_tool_call(before_foreign: Server, stream: bool) -> None:
    before = before_foreign.usage()
    status, _, text = await post(before_foreign, call(stream=stream, tools=[TOOL]))
    if stream:
        made = [c["choices"][0]["delta"]["tool_calls"][0] for c in events(text)[:-1] if c["choices"][0]["delta"]]
    else:
        made = json.loads(text)["choices"][0]["message"]["tool_calls"]
    assert (status, [each["function"]["arguments"] for each in made]) == (200, ['{"city":"Rome"}'])
    assert change(before_foreign, before)[1] > 0


async def test_a_foreign_error(before_foreign: Server) -> None:
    body = call(messages=[{"role": "user", "content": "Now fail please."}])
    status, _, text = await post(before_foreign, body)
    assert (status, json.loads(text)["error"]["code"]) == (502, "upstream_invalid_response")
    assert "10.0.0.7" not in text


@pytest.fixture(scope="module")
def inner(start: Callable[..., Server], scripted: ScriptedUpstream) -> Server:
    return start(config=CONFIG.format(url=scripted.url, key="sk-provider", model="up-model"))


@pytest.fixture(scope="module")
def outer(start: Callable[..., Server], inner: Server) -> Server:
    return start(config=CONFIG.format(url=inner.url, key=inner.key, model="test"))


def same_ids_on_both_hops(outer: Server, inner: Server, told: str) -> None:
    """The client is told the outer id; the inner server has its own, which differs."""
    assert outer.requests()[-1]["id"] == told
    assert inner.requests()[-1]["id"].startswith("req_")
    assert inner.requests()[-1]["id"] != told


async def test_two_hops(outer: Server, inner: Server, upstream: ScriptedUpstream) -> None:
    upstream.queue.append(lambda seen: seen.json(completion(TEXT, 12, 19)))
    before = outer.usage(), inner.usage()
    status, headers, text = await post(outer, call(stream=False, max_tokens=100))
    body = json.loads(text)
    assert (status, body["choices"][0]["message"]["content"]) == (200, TEXT)
    assert faults(body, "CreateChatCompletionResponse") == []
    assert body["request_id"] == headers["x-request-id"]
    same_ids_on_both_hops(outer, inner, headers["x-request-id"])
    assert upstream.seen[0].headers["x-request-id"] == inner.requests()[-1]["id"]
    assert upstream.seen[0].body["max_tokens"] == 100
    assert change(outer, before[0]) == change(inner, before[1]) == (12, 19)


@pytest.mark.parametrize("asked", [False, True])
async def test_two_hops_of_a_stream(outer: Server, inner: Server, upstream: ScriptedUpstream, asked: bool) -> None:
    words = [f" word{i}" for i in range(300)]
    upstream.script = streamed(words, prompt=12, output=345)
    before = outer.usage(), inner.usage()
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    status, headers, text = await post(outer, call(max_tokens=1000, **options))
    got = events(text)
    assert (status, content(got), got[-1]) == (200, "".join(words), "[DONE]")
    assert chunk_faults(got) == []
    assert [chunk["request_id"] for chunk in got[:-1] if "request_id" in chunk] == [headers["x-request-id"]]
    assert sum(bool(chunk.get("usage")) for chunk in got[:-1]) == asked
    same_ids_on_both_hops(outer, inner, headers["x-request-id"])
    assert change(outer, before[0]) == change(inner, before[1]) == (12, 345)


async def test_an_inner_id_is_told_that_it_came_from_the_outer_one(inner: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = streamed(["Hi"])
    _, headers, _ = await request(
        inner, "POST", "/v1/chat/completions", body=call(), headers={"x-request-id": "req_outer"}
    )
    assert headers["x-client-request-id"] == "req_outer"
    assert headers["x-request-id"] != "req_outer"


async def test_what_the_inner_server_refuses(outer: Server, inner: Server, upstream: ScriptedUpstream) -> None:
    for cap, status, code in (
        ("--input-per-request", 400, "upstream_rejected"),  # a 413 there: the client's fault, in the inner one's words
        ("--daily-output", 429, "upstream_rate_limited"),
    ):
        inner.cli("user", "set", "default", cap, "1")
        reply = await post(outer, call())
        inner.cli("user", "set", "default", cap, "none")
        error = json.loads(reply[2])["error"]
        assert (reply[0], error["code"], error["request_id"]) == (status, code, reply[1]["x-request-id"])
    assert upstream.seen == []
    assert outer.usage()["in_flight"] == 0
