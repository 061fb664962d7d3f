from __future__ import annotations

import pytest

from streamrouter.relay.incoming import Incoming
from streamrouter.wire.sse import EventTooLarge


def test_what_one_read_brought_is_taken_in_one_go() -> None:
    incoming = Incoming()
    assert not incoming.waits()
    for piece in (b'data: {"a"', b':1}\n\ndata: {"b":2}\n', b"\ndata: [DO"):
        incoming.feed(piece)
    assert incoming.waits()
    assert incoming.read(1.0) == [b'{"a":1}', b'{"b":2}']
    assert not incoming.waits()
    incoming.feed(b"NE]")
    assert incoming.read(1.5) == [] and incoming.finish() == [b"[DONE]"]
    assert incoming.gaps.p99_ms() is None  # the second read brought no event
    incoming.feed(b"\n\ndata: 1\n\n")
    assert incoming.read(2.0) == [b"1"]
    assert incoming.gaps.p99_ms() == 1000


def test_a_new_attempt_begins_with_nothing() -> None:
    incoming = Incoming()
    incoming.feed(b"data: half")
    incoming.read(1.0)
    incoming.feed(b"more")
    incoming.begin_anew(16)
    assert not incoming.waits()
    incoming.feed(b"data: 1\n\n")
    assert incoming.read(2.0) == [b"1"]
    incoming.feed(b"data: " + b"x" * 20)
    with pytest.raises(EventTooLarge):
        incoming.read(3.0)
    incoming.feed(b"x")
    incoming.drop()
    assert not incoming.waits()
