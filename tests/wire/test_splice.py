"""Our names into an upstream's bytes: the same object, but for model, request_id, ``"error": null`` and usage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from streamrouter.wire.splice import Splicer, members_of

HEAD = b'{"id":"c1","object":"chat.completion.chunk","created":7,"model":"up"'
DELTA = b'"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]'
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def chunk(text: bytes = b"x", head: bytes = HEAD, tail: bytes = b"") -> bytes:
    return head + b"," + DELTA % text + tail + b"}"


def unframed(event: bytes) -> Any:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    return json.loads(event[6:])


def spliced(*payloads: bytes, drop_usage: bool = False) -> list[Any]:
    splicer = Splicer("public/m", "req_1")
    return [unframed(splicer.event(payload, drop_usage=drop_usage)) for payload in payloads]


def expected(payload: bytes, *, first: bool) -> Any:
    members = json.loads(payload) | {"model": "public/m"}
    members.pop("request_id", None)
    if members.get("error", 0) is None:
        del members["error"]
    return members | ({"request_id": "req_1"} if first else {})


SHAPES = {
    "openai": HEAD,
    "model after the choices": b'{"id":"c1","created":7',
    "request_id in the head": HEAD + b',"request_id":"theirs"',
    "error null in the head": HEAD + b',"error":null',
    "unusual white space": b'{ "id" : "c1" ,\t"model" : "up"',
    "a name that says choices": b'{"id":"\\"choices\\":","model":"up"',
    "a key that ends in choices": b'{"model":"up","a\\"choices":1',
    "choices deeper before": b'{"model":"up","x":{"choices":[1]}',
    "choices in a list before": b'{"model":"up","x":[{"a":1,"choices":2}]',
    "a model deeper": b'{"x":{"model":"deep"},"model":"up"',
    "unicode": '{"id":"žluť 😀","model":"úp"'.encode(),
    "escapes": b'{"id":"\\u017e\\n\\/","mod\\u0065l":"up"',
    "numbers as they are": b'{"model":"up","created":1.0e2,"big":123456789012345678901234567890',
}
TAILS = {
    "none": b"",
    "model": b',"model":"up2"',
    "request_id": b',"request_id":"theirs"',
    "error null": b',"error":null',
    "more": b',"obfuscation":"a}b","p":[1,{"usage":null}]',
}


@pytest.mark.parametrize("head", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_the_same_object_under_our_names(head: bytes, tail: bytes) -> None:
    payloads = [chunk(text, head, tail) for text in (b"", b"Hi", b'a \\"choices\\": b', "ž\\u2028😀".encode(), b"\\n}")]
    for payload, got in zip(payloads, spliced(*payloads), strict=True):
        assert got == expected(payload, first=payload is payloads[0])


def test_an_error_null_that_only_a_later_event_has() -> None:
    splicer = Splicer("m", "req_1")
    splicer.event(chunk(), drop_usage=False)
    assert "error" not in unframed(splicer.event(chunk(tail=b',"error":null'), drop_usage=False, null_error=True))


def test_the_bytes_of_what_is_not_ours_stay() -> None:
    splicer = Splicer("m", "req_1")
    for text in (b"\\u0041", b"\\/ \xc5\xbe"):
        event = splicer.event(chunk(text, tail=b', "n" : 1.50'), drop_usage=False)
        assert DELTA % text in event
        assert b"1.50" in event
    assert b', "n" : 1.50}' in event  # the learned way: everything behind the head is untouched


def test_a_head_that_changes_is_learned_anew() -> None:
    other = HEAD.replace(b"up", b"up-2025")
    got = spliced(chunk(b"1"), chunk(b"2", other), chunk(b"3", other), chunk(b"4"))
    assert [(e["model"], e["choices"][0]["delta"]["content"]) for e in got] == [("public/m", c) for c in "1234"]
    assert [("request_id" in e) for e in got] == [True, False, False, False]


def test_our_names_are_escaped() -> None:
    splicer = Splicer('a"b\nc', 'r"1')
    got = unframed(splicer.event(chunk(), drop_usage=False))
    assert (got["model"], got["request_id"]) == ('a"b\nc', 'r"1')
    assert unframed(splicer.event(chunk(), drop_usage=False))["model"] == 'a"b\nc'


@pytest.mark.parametrize("head", [HEAD, HEAD + b',"usage":null', b'{"usage":null,"model":"up"'])
def test_usage_null_is_withheld(head: bytes) -> None:
    for tail in (b"", b',"usage":null'):
        assert not any("usage" in event for event in spliced(*[chunk(head=head, tail=tail)] * 3))


def test_only_the_top_levels_usage_is_withheld() -> None:
    tail = b',"x":{"a":1,"usage":null}'
    assert [e["x"] for e in spliced(chunk(tail=tail), chunk(tail=tail))] == [{"a": 1, "usage": None}] * 2
    text = b'\\",\\"usage\\":null}'
    assert [e["choices"][0]["delta"]["content"] for e in spliced(chunk(text), chunk(text))] == ['","usage":null}'] * 2


def test_usage_inside_a_content_chunk_is_taken_out() -> None:
    usage = b',"usage":' + json.dumps(USAGE).encode()
    splicer = Splicer("m", "req_1")
    for payload in (chunk(b"1"), chunk(b"2"), chunk(b"3", HEAD + usage)):
        kept = unframed(splicer.event(payload + b"", drop_usage=False))
        dropped = unframed(splicer.event(payload[:-1] + (b"}" if usage in payload else usage + b"}"), drop_usage=True))
        assert "usage" not in dropped
        assert dropped["choices"] == kept["choices"]


def test_the_usage_chunk_is_sent_when_it_is_asked_for() -> None:
    payload = HEAD + b',"choices":[],"usage":' + json.dumps(USAGE).encode() + b"}"
    (_, got) = spliced(chunk(), payload)
    assert (got["choices"], got["usage"], got["model"]) == ([], USAGE, "public/m")


def test_a_chunk_without_choices_or_model() -> None:
    (first, second) = spliced(b"{}", b'{"id":"x","model":null}')
    assert first == {"model": "public/m", "request_id": "req_1"}
    assert second == {"id": "x", "model": "public/m"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5) | st.just('"choices":'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["id", "model", "request_id", "error", "choices", "created", "x"]) | st.text(max_size=6)


@given(
    members=st.dictionaries(keys, values, max_size=7),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    ascii_only=st.booleans(),
)
def test_any_object_stays_the_same(members: dict[str, Any], separators: tuple[str, str], ascii_only: bool) -> None:
    """Three times, so that a learned head is used."""
    payload = json.dumps(members, separators=separators, ensure_ascii=ascii_only).encode()
    for number, got in enumerate(spliced(payload, payload, payload)):
        assert got == expected(payload, first=number == 0)


def test_chunks_of_our_own_have_the_streams_identity() -> None:
    splicer = Splicer("m", "req_1", created=99)
    before = unframed(splicer.own(b"[]"))
    assert before == {
        "id": "chatcmpl-req_1",
        "object": "chat.completion.chunk",
        "created": 99,
        "model": "m",
        "choices": [],
        "request_id": "req_1",
    }
    splicer.event(chunk(), drop_usage=False)
    after = unframed(splicer.own(b'[{"index":0}]', {"usage": Raw(b'{"a":1}')}))
    assert after == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": 0}],
        "usage": {"a": 1},
    }


def test_members_are_bytes() -> None:
    assert {k: bytes(v) for k, v in members_of(b'{"a": [1, 2] ,"b":null}').items()} == {"a": b"[1, 2]", "b": b"null"}
