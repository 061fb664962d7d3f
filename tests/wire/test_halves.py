r"""An emoji in two halves: looked at, handed on as it came, counted as the emoji that it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.policy import encodings
from streamrouter.policy.tokens import count_text
from streamrouter.wire.answer import BadAnswer, decode_answer, with_our_names
from streamrouter.wire.chunk import BadChunk, decode_chunk, texts
from streamrouter.wire.halves import mask, unmask
from streamrouter.wire.splice import Splicer
from streamrouter.wire.whole import chunks_of

PIECES = [
    rb"\ud83d",
    rb"\uDE00",
    rb"\uDAbc",
    rb"\\",
    rb"\"",
    rb"\u00e9",
    rb"\ud83d\ude00",
    b"ud83d",
    b"a",
    "é🙂".encode(),
]


def chunk(text: bytes, **more: str) -> bytes:
    extra = "".join(f',"{name}":{value}' for name, value in more.items()).encode()
    return b'{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"%b"}}]%b}' % (text, extra)


def said(payload: bytes) -> str:
    return "".join(text for choice in decode_chunk(payload).choices or () for _, text in texts(choice.delta))


@given(st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_a_mask_is_valid_json_and_comes_off_again(text: bytes) -> None:
    payload = chunk(text)
    masked = mask(payload)
    if masked is None:
        json.loads(payload)["choices"][0]["delta"]["content"].encode()  # nothing was halved
        return
    assert len(masked) == len(payload)
    json.loads(masked)["choices"][0]["delta"]["content"].encode()
    assert unmask(masked) == payload
    assert said(payload) == json.loads(payload)["choices"][0]["delta"]["content"]


def test_private_characters_of_the_upstreams_own_are_not_taken_for_masks() -> None:
    assert mask(chunk(rb"\ue03d\ud83d")) is None
    with pytest.raises(BadChunk):
        decode_chunk(chunk(rb"\ue03d\ud83d"))
    assert said(chunk(rb"\ue03d")) == "\ue03d"


@pytest.mark.parametrize("text", [rb"\ud83", rb"\ud83x", rb"\q\ud83d", b"\\ud83d\n", b"\\ud83d\xff"])
def test_what_is_bad_otherwise_stays_bad(text: bytes) -> None:
    with pytest.raises(BadChunk):
        decode_chunk(chunk(text))
    with pytest.raises(BadAnswer):
        decode_answer(chunk(text).replace(b"delta", b"message"))


def test_two_halves_are_counted_as_one_emoji() -> None:
    encoding = encodings.load("o200k_base")
    both = said(chunk(rb"\ud83d")) + said(chunk(rb"\ude00"))
    assert count_text(encoding, both) == count_text(encoding, "😀")


def test_the_first_event_and_the_following_keep_their_halves() -> None:
    splicer = Splicer("public", "req_1")
    first = splicer.event(chunk(rb"\uD83D", error="null"), drop_usage=False, null_error=True)
    second = splicer.event(chunk(rb"\ude00", usage='{"a":1}'), drop_usage=True)
    assert rb'"content":"\uD83D"' in first and b'"model":"public"' in first and b"error" not in first
    assert rb'"content":"\ude00"' in second and b"usage" not in second


def test_a_whole_answer_that_was_cut_in_an_emoji_keeps_its_half() -> None:
    choices = rb'[{"index":0,"message":{"role":"assistant","content":"a\ud83d"},"finish_reason":"length"}]'
    body = b'{"id":"c","model":"m","choices":%b}' % choices
    assert [choice.message.content for choice in decode_answer(body).choices or () if choice.message] == ["a\ud83d"]
    named = with_our_names(body, "public", "req_1", finish_reasons={"length": "stop"})
    assert rb'"content":"a\ud83d"' in named and b'"finish_reason":"stop"' in named and b'"request_id":"req_1"' in named
    payloads = chunks_of(body)
    assert payloads is not None and rb'"content":"a\ud83d"' in payloads[0]
