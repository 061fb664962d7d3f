"""Shapes against the long way: what is decoded, and what is sent, is the same for any text and any bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.wire.chunk import BadChunk, decode_chunk, texts
from streamrouter.wire.shape import Shape, learn
from streamrouter.wire.splice import Splicer

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model"}


def chunk(text: Any = "hello", *, sparse: bool = False, **more: Any) -> bytes:
    """One event; ``more``: members of the delta, or (usage, error, ...) of the chunk."""
    names = ("role", "reasoning_content", "tool_calls")
    inside: dict[str, Any] = {name: more.pop(name) for name in names if name in more}
    finish = more.pop("finish", None)
    delta = dict(inside) if text is None else {"content": text, **inside}
    body = {**HEAD, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}
    return json.dumps(body, ensure_ascii=False, separators=None if sparse else (",", ":")).encode()


def learned(payload: bytes) -> tuple[Shape | None, Splicer]:
    splicer = Splicer("public", "req_1")
    for event in (chunk(None, role="assistant"), payload):  # the first one teaches the head
        splicer.event(event, drop_usage=False)
    return learn(payload, decode_chunk(payload), splicer), splicer


def spliced(splicer: Splicer, payload: bytes) -> bytes:
    decoded = decode_chunk(payload)
    return splicer.event(payload, drop_usage=decoded.has_usage, null_error=len(decoded.error) > 0)


@given(said=st.lists(st.text(max_size=20), min_size=1, max_size=6), first=st.text(min_size=1, max_size=9))
def test_any_text_is_taken_as_the_long_way_does(said: list[str], first: str) -> None:
    shape, splicer = learned(chunk(first))
    assert shape is not None and (shape.index, shape.channel) == (0, "content")
    payloads = [chunk(text) for text in said]
    assert shape.length(payloads, 0) == len(payloads)
    assert [shape.one(b"data: " + payload + b"\n\n") for payload in payloads] == [
        (spliced(splicer, payload), text) for payload, text in zip(payloads, said, strict=True)
    ]
    run = shape.run(payloads)
    assert run is not None and run.events == len(said)
    assert run.text == "".join(said)
    assert run.framed == b"".join(spliced(splicer, payload) for payload in payloads)


@given(piece=st.binary(max_size=12))
def test_any_bytes_are_text_or_not_as_the_decoder_says(piece: bytes) -> None:
    shape, _ = learned(chunk("x"))
    assert shape is not None
    payload = shape.before + piece + shape.after
    try:
        decoded = decode_chunk(payload)
    except BadChunk:
        assert shape.run([payload]) is None and shape.one(b"data: " + payload + b"\n\n") is None
        return
    run = shape.run([payload])
    assert shape.one(b"data: " + payload + b"\n\n") == (None if run is None else (run.framed, run.text))
    if run is not None:  # a piece that closes its string and opens another is valid too, and goes the long way
        assert run.text == "".join(text for choice in decoded.choices or () for _, text in texts(choice.delta))


@pytest.mark.parametrize(
    "payload",
    [
        chunk("a", sparse=True),
        chunk('"\\'),
        chunk("tail\\"),
        chunk("é\n"),
        chunk("a", usage=None),
        chunk("a", role="assistant"),
        chunk("a", obfuscation="x"),
        chunk(None, reasoning_content="why"),
        chunk("", reasoning_content="why"),
    ],
)
def test_what_has_a_shape(payload: bytes) -> None:
    shape, splicer = learned(payload)
    assert shape is not None
    run = shape.run([payload] * 3)
    assert run is not None
    assert [(shape.channel, run.text)] == [
        (channel, text * 3) for choice in decode_chunk(payload).choices or () for channel, text in texts(choice.delta)
    ]
    assert run.framed == 3 * spliced(splicer, payload)


@pytest.mark.parametrize(
    "payload",
    [
        chunk(None),
        chunk(""),
        chunk(None, role="assistant"),
        chunk("a", finish="stop"),
        chunk("a", usage={"prompt_tokens": 1, "completion_tokens": 1}),
        chunk("a", error=None),
        chunk("a", reasoning_content="b"),
        chunk(["a"]),
        chunk(None, tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]),
        chunk("a").replace(b'"content":', b'"cont\\u0065nt":'),
        chunk("a").replace(b'{"id"', b'{"content":"b","id"'),
        b'{"choices":[{"delta":{"content":"a"}}]}',  # nothing before it, so no head is known
        b'{"model":"m","choices":[]}',
    ],
)
def test_what_has_none(payload: bytes) -> None:
    assert learned(payload)[0] is None


def test_what_does_not_look_like_it() -> None:
    shape, _ = learned(chunk("a"))
    assert shape is not None
    payloads = [chunk("a"), chunk("b"), chunk("c", finish="stop"), chunk("d"), b"[DONE]"]
    assert [shape.length(payloads, at) for at in range(5)] == [2, 1, 0, 1, 0]
    overlap = shape.before[: -len(shape.after)] if len(shape.after) < len(shape.before) else shape.before
    assert shape.length([overlap + shape.after], 0) == 0
