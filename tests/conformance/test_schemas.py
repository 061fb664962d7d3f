"""Every response, chunk and model list validates against OpenAI's own schemas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.schemas import chunk_faults, faults
from tests.conformance.scripts import answered, broken_off, played
from tests.conformance.wire import call, content, events, post, request
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, Seen, completion, delta, event, streamed, usage

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}], "refusal": None}


def test_the_schemas_bite() -> None:
    assert faults({"object": "list", "data": [{"id": 1, "object": "model", "created": 0, "owned_by": ""}]}, "Model")
    assert faults({"error": {"message": "x", "type": "y", "code": None}}, "ErrorResponse")
    assert chunk_faults([{"choices": []}])
    assert not faults(completion("Hi."), "CreateChatCompletionResponse")


@pytest.mark.parametrize("more", [{}, {"n": 2}, FORCED, {"n": 3, **FORCED}, {"max_tokens": 3}])
async def test_a_whole_answer(server: Server, more: dict[str, Any]) -> None:
    status, headers, text = await post(server, call("demo", stream=False, **more))
    body = json.loads(text)
    assert (status, faults(body, "CreateChatCompletionResponse")) == (200, [])
    assert len(body["choices"]) == more.get("n", 1)
    assert body["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("more", [{}, {"n": 2}, FORCED, {"n": 3, **FORCED}, {"max_tokens": 3}])
async def test_a_stream(server: Server, more: dict[str, Any], asked: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    status, _, text = await post(server, call("demo", **more, **options))
    got = events(text)
    assert (status, chunk_faults(got), got[-1]) == (200, [], "[DONE]")
    assert sum(bool(chunk.get("usage")) for chunk in got[:-1]) == asked


async def test_an_upstream_s_whole_answer(server: Server, upstream: ScriptedUpstream) -> None:
    answer = completion("Hi.", system_fingerprint="fp_1", service_tier="default", error=None)
    answer["choices"][0]["logprobs"] = LOGPROBS
    answer["choices"][0]["message"]["annotations"] = []
    answer["choices"][0]["message"]["reasoning_content"] = "Let me see."
    upstream.script = answered(answer)
    _, _, text = await post(server, call(stream=False))
    body = json.loads(text)
    assert faults(body, "CreateChatCompletionResponse") == []
    assert "error" not in body
    assert body["choices"][0]["message"]["reasoning_content"] == "Let me see."
    assert body["choices"][0]["logprobs"] == LOGPROBS


async def test_reasoning_logprobs_and_refusals_in_a_stream(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = played(
        delta("", role="assistant", refusal=None),
        delta(None, reasoning_content="Let me "),
        delta(None, reasoning="see."),
        event({"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": LOGPROBS, "finish_reason": None}]}),
        delta(None, refusal="No."),
        delta(None, finish="stop"),
        event({"choices": [], "usage": usage(9, 4)}),
        DONE,
    )
    _, _, text = await post(server, call(stream_options={"include_usage": True}))
    got = events(text)
    assert chunk_faults(got) == []
    assert [chunk["choices"][0]["delta"].get("reasoning_content") for chunk in got[:3]] == [None, "Let me ", None]


@pytest.mark.parametrize(
    ("last", "counted"),
    [
        pytest.param([event({"choices": [], "usage": usage(9, 1)})], (9, 1), id="as OpenAI"),
        pytest.param([event({"usage": usage(9, 1)})], (9, 1), id="without choices"),
        pytest.param([event({"choices": None, "usage": usage(9, 1)})], (9, 1), id="choices null"),
        pytest.param([b'data: {"usage":{"prompt_tokens":9,"completion_tokens":1}}\n\n'], (9, 1), id="bare"),
        pytest.param([], None, id="none at all"),
    ],
)
async def test_the_usage_chunk(
    server: Server, upstream: ScriptedUpstream, last: list[bytes], counted: tuple[int, int] | None
) -> None:
    upstream.script = played(delta("Hi", role="assistant"), delta(None, finish="stop"), *last, DONE)
    _, _, text = await post(server, call(stream_options={"include_usage": True}))
    got = events(text)
    assert chunk_faults(got) == []
    assert (got[-2]["choices"], got[-1]) == ([], "[DONE]")
    assert len({chunk["id"] for chunk in got[:-1]}) == 1
    if counted is not None:
        assert (got[-2]["usage"]["prompt_tokens"], got[-2]["usage"]["completion_tokens"]) == counted


async def test_a_whole_answer_where_a_stream_was_asked_for(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = answered(completion("Hi."))
    _, _, text = await post(server, call(stream_options={"include_usage": True}))
    got = events(text)
    assert (chunk_faults(got), content(got)) == ([], "Hi.")


async def test_chunks_of_our_own(restless: Server, upstream: ScriptedUpstream) -> None:
    """Keep-alives before and after the first event, and the end of a stream that passes its limit."""

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await asyncio.sleep(0.4)
        await seen.chunk(delta("Hi", role="assistant"))
        await asyncio.sleep(0.4)
        for _ in range(200):
            await seen.chunk(delta(" word"))
        await seen.gone()

    upstream.script = script
    _, _, text = await post(restless, call(max_tokens=8, stream_options={"include_usage": True}))
    got = events(text)
    assert chunk_faults(got) == []
    fillers = [chunk for chunk in got[:-1] if chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]]
    assert len({chunk["id"] for chunk in fillers}) == 2  # ours, then the upstream's
    assert [chunk["choices"][0]["finish_reason"] for chunk in got[-3:-2]] == ["length"]


async def test_models(server: Server) -> None:
    status, _, text = await request(server, "GET", "/v1/models")
    listed = json.loads(text)
    assert (status, faults(listed, "ListModelsResponse")) == (200, [])
    for model in listed["data"]:
        status, _, text = await request(server, "GET", f"/v1/models/{model['id']}")
        assert (status, faults(json.loads(text), "Model"), json.loads(text)) == (200, [], model)


FAULTY: dict[str, Callable[..., Any]] = {
    "upstream_disconnected": lambda: broken_off(delta("Hi", role="assistant")),
    "upstream_truncated": lambda: played(delta("Hi", role="assistant")),
    "upstream_invalid_response": lambda: played(delta("Hi", role="assistant"), b"data: {]\n\n"),
    "upstream_rate_limited": lambda: played(delta("Hi"), event({"error": {"code": "rate_limit_exceeded"}})),
    "upstream_rejected": lambda: played(delta("Hi"), event({"error": {"message": "Bad seed.", "code": 400}})),
}


@pytest.mark.parametrize("code", FAULTY)
async def test_an_error_in_a_stream(server: Server, upstream: ScriptedUpstream, code: str) -> None:
    upstream.script = FAULTY[code]()
    status, headers, text = await post(server, call())
    got = events(text)
    assert (status, chunk_faults(got)) == (200, [])
    assert list(got[-1]) == ["error"]  # nothing beside it, and no [DONE] behind it
    assert (got[-1]["error"]["code"], got[-1]["error"]["request_id"]) == (code, headers["x-request-id"])


async def test_streams_after_errors_are_whole_again(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = streamed(["Hi"])
    _, _, text = await post(server, call())
    assert chunk_faults(events(text)) == []
