from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.wire.chunk import BadChunk, Delta, decode_chunk, part_text, texts


def decoded(delta: Any) -> list[tuple[str, str]]:
    chunk = decode_chunk(json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode())
    assert chunk.choices is not None
    return list(texts(chunk.choices[0].delta))


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (None, []),
        ({}, []),
        ({"role": "assistant", "content": ""}, []),
        ({"content": None, "refusal": None, "tool_calls": None, "audio": None, "function_call": None}, []),
        ({"content": "Hi 😀"}, [("content", "Hi 😀")]),
        ({"refusal": "No."}, [("refusal", "No.")]),
        ({"reasoning_content": "hm"}, [("reasoning", "hm")]),
        ({"reasoning": "hm"}, [("reasoning", "hm")]),
        ({"reasoning": "hm", "reasoning_content": "hm"}, [("reasoning", "hm")]),  # one thing under two names
        ({"audio": {"id": "a", "data": "AAAA", "transcript": "Hi"}}, [("audio", "Hi")]),
        ({"audio": {"id": "a"}}, []),
        (
            {"content": "a", "reasoning": "b", "refusal": "c"},
            [("content", "a"), ("reasoning", "b"), ("refusal", "c")],
        ),
        # content as parts (Mistral)
        ({"content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": " you"}]}, [("content", "Hi you")]),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, [("content", "hm")]),
        ({"content": []}, []),
        # tools
        (
            {"tool_calls": [{"index": 1, "id": "c", "function": {"name": "f", "arguments": '{"a'}}]},
            [("tool1", "f"), ("tool1", '{"a')],
        ),
        (
            {"tool_calls": [{"function": {"arguments": "1"}}, {"function": {"arguments": "2"}}]},
            [("tool0", "1"), ("tool1", "2")],
        ),
        ({"tool_calls": [{"index": 0, "function": {"arguments": {"a": [1]}}}]}, [("tool0", '{"a":[1]}')]),
        (
            {"tool_calls": [{"index": 0, "custom": {"name": "sql", "input": "SELECT"}}]},
            [("tool0", "sql"), ("tool0", "SELECT")],
        ),
        ({"tool_calls": [{"index": 0}]}, []),
        ({"function_call": {"name": "f", "arguments": "{}"}}, [("function", "f"), ("function", "{}")]),
    ],
)
def test_every_text_that_costs_tokens(delta: Any, expected: list[tuple[str, str]]) -> None:
    assert decoded(delta) == expected


def test_no_delta_no_text() -> None:
    assert list(texts(None)) == list(texts(Delta())) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"x"',
        b"[DONE",
        b'{"choices":[]}x',
        b'{"choices":[]}{"choices":[]}',
        b'{"choices":{}}',
        b'{"choices":[null]}',
        b'{"choices":[7]}',
        b'{"choices":[{"index":"0"}]}',
        b'{"choices":[{"index":0.5}]}',
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"content":7}}]}',
        b'{"choices":[{"delta":{"content":{"text":"x"}}}]}',
        b'{"choices":[{"delta":{"tool_calls":{}}}]}',
        b'{"choices":[{"finish_reason":1}]}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"id":"\xff","choices":[]}',
        b'{"\xff":1,"choices":[]}',
        b'{"x":{"y":["\xc3("]},"choices":[]}',
        b'{"x":"\xed\xa0\x80","choices":[]}',
        b'{"x":"\\ud83g","choices":[]}',
        b'{"x":"\x01","choices":[]}',
        b'{"x":01,"choices":[]}',
        b'{"x":tru,"choices":[]}',
        b"<html>",
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_what_is_no_chunk(payload: bytes) -> None:
    with pytest.raises(BadChunk):
        decode_chunk(payload)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_chunk_or_a_bad_one(payload: bytes) -> None:
    for each in (payload, b'{"choices":[{"delta":{"content":"' + payload + b'"}}]}'):
        try:
            chunk = decode_chunk(each)
        except BadChunk:
            continue
        for choice in chunk.choices or ():
            list(texts(choice.delta))


@pytest.mark.parametrize(
    ("usage", "has"), [("null", False), ("{}", False), ('{"prompt_tokens":1}', True), ('"many"', True)]
)
def test_usage(usage: str, has: bool) -> None:
    assert decode_chunk(f'{{"choices":[],"usage": {usage} }}'.encode()).has_usage is has
    assert not decode_chunk(b'{"choices":[]}').has_usage


@pytest.mark.parametrize(
    ("error", "has"), [("null", False), (" null ", False), ("{}", True), ('"x"', True), ('{"message":"m"}', True)]
)
def test_error(error: str, has: bool) -> None:
    assert decode_chunk(f'{{"error":{error}}}'.encode()).has_error is has
    assert not decode_chunk(b'{"choices":null}').has_error


def test_choices() -> None:
    chunk = decode_chunk(
        b'{"choices":[{"delta":{},"finish_reason":"stop"},{"index":3,"text":"x","logprobs":{"a":[1]}}]}'
    )
    assert chunk.choices is not None
    assert [(c.index, c.finish_reason) for c in chunk.choices] == [(0, "stop"), (3, None)]
    assert decode_chunk(b'{"choices":null}').choices is None


def test_parts_are_read_in_order_at_any_depth() -> None:
    deep: list[Any] = ["!"]
    for _ in range(5000):
        deep = [deep]
    assert part_text(["a", {"type": "text", "text": "b", "more": ["c", 7, None]}, True, *deep]) == "abc!"
