from __future__ import annotations

import json
from typing import Any

import pytest

from streamrouter.wire.chunk import decode_chunk
from streamrouter.wire.whole import chunks_of

USAGE = {"prompt_tokens": 42, "completion_tokens": 24, "total_tokens": 66}


def answer(**changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello", "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1711929600,
        "model": "gpt-5.4-mini",
        "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    } | changes


def chunks(body: dict[str, Any], **how: Any) -> list[dict[str, Any]]:
    payloads = chunks_of(json.dumps(body, **how).encode())
    assert payloads is not None
    for payload in payloads:
        decode_chunk(payload)
        assert b"\n" not in payload
    return [json.loads(payload) for payload in payloads]


@pytest.mark.parametrize("how", [{}, {"indent": 1}, {"separators": (",", ":")}], ids=str)
def test_a_whole_answer_becomes_what_was_said_how_it_ended_and_usage(how: dict[str, Any]) -> None:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1711929600,
        "model": "gpt-5.4-mini",
        "system_fingerprint": "fp_1",
    }
    said = {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "logprobs": None, "finish_reason": None}
    assert chunks(answer(), **how) == [
        head | {"choices": [said]},
        head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        head | {"choices": [], "usage": USAGE},
    ]


def test_every_kind_of_output_is_kept() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    message = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "reasoning": "so",
        "refusal": "no",
        "tool_calls": [call, call],
        "audio": {"id": "a", "transcript": "t"},
    }
    logprobs = {"content": [{"token": "x", "logprob": -1.5}]}
    first, last, _ = chunks(
        answer(choices=[{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "tool_calls"}])
    )
    (choice,) = first["choices"]
    assert choice["delta"] == message | {"tool_calls": [{"index": 0} | call, {"index": 1} | call]}
    assert choice["logprobs"] == logprobs
    assert last["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_each_get_both_chunks() -> None:
    choices = [
        {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "length"},
        {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"},
    ]
    got = [(c["choices"][0]["index"], c["choices"][0]["finish_reason"]) for c in chunks(answer(choices=choices))[:-1]]
    assert got == [(1, None), (0, None), (1, "length"), (0, "stop")]


def test_what_an_answer_forgot_is_filled_in() -> None:
    got = chunks({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}], "error": None})
    assert [chunk["choices"][0]["index"] for chunk in got] == [0, 1, 0, 1]
    assert [chunk["choices"][0]["finish_reason"] for chunk in got] == [None, None, "stop", "stop"]
    for chunk in got:
        assert {"id", "created", "model", "object"} <= chunk.keys()
        assert "error" not in chunk


@pytest.mark.parametrize("usage", [{}, {"usage": None}])
def test_no_usage_is_made_up(usage: dict[str, Any]) -> None:
    body = answer()
    del body["usage"]
    assert len(chunks(body | usage)) == 2


@pytest.mark.parametrize("calls", [None, []])
def test_no_tool_calls_are_not_sent(calls: Any) -> None:
    message = {"role": "assistant", "content": "a", "tool_calls": calls}
    first, *_ = chunks(answer(choices=[{"index": 0, "message": message, "finish_reason": "stop"}]))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"error":{"message":"no"}}',
        json.dumps(answer(error={"message": "no"})).encode(),
        json.dumps(answer(object="list")).encode(),
        json.dumps(answer(object="chat.completion.chunk")).encode(),
        json.dumps(answer(object=1)).encode(),
        json.dumps(answer(choices=[])).encode(),
        json.dumps(answer(choices=None)).encode(),
        json.dumps(answer(choices=[{"index": 0, "delta": {}}])).encode(),
        json.dumps(answer(choices=[{"index": 0, "message": None}])).encode(),
        json.dumps(answer(choices=[{"index": 0, "message": "text"}])).encode(),
        json.dumps(answer(choices=[{"index": 0, "message": {"tool_calls": {}}}])).encode(),
        json.dumps(answer()).encode()[:-1],
        json.dumps(answer()).encode() + b"x",
        json.dumps(answer(model="X")).encode().replace(b"X", b"\xff"),
        json.dumps(answer()).encode("utf-16"),
        b'{"choices":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_anything_else_is_not_a_completion(body: bytes) -> None:
    assert chunks_of(body) is None
