"""The short way of the relay against its long way: the same events leave, the same is counted and charged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.policy.meter import Meter
from streamrouter.relay.incoming import Incoming
from streamrouter.relay.port import Port
from streamrouter.relay.runs import Runs
from streamrouter.wire.chunk import decode_chunk
from streamrouter.wire.splice import Splicer
from streamrouter.wire.sse import EventTooLarge

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


class Side:
    """A meter, a splicer and what the relay does with them; ``short``: with runs."""

    def __init__(self, short: bool, lease: int = 60, r_output: int = 400) -> None:
        self.asked: list[int] = []
        self.sent: list[bytes] = []
        self.meter = Meter(
            count=len, local_input=1, r_input=1, r_output=r_output, n=1, lease=lease, exact=True
        )  # one character is one token
        self.splicer = Splicer("public", "req_1")
        port = Port(
            monotonic=lambda: 0.0,
            start=lambda sink: None,
            settle=lambda: None,
            extend=self._extended,
            hang_up=lambda: None,
            error_event=lambda refusal: b"",
            lease_block=50,
            keepalive_s=1.0,
            commit_status_s=1.0,
        )
        self.runs = Runs(self.meter, self.splicer, port)
        self.short = short
        self.incoming = Incoming()
        self.incoming.begin_anew(1000)
        self.taken = 0
        self.stopped = False

    def _extended(self, lease: int, urgent: bool) -> None:
        self.asked.append(lease)
        self.meter.lease = lease  # durable at once

    def read(self, payloads: list[bytes]) -> None:
        at = 0
        while at < len(payloads) and not self.stopped:
            if self.short and (many := self.runs.take(payloads, at, self.sent)):
                at += many
                self.taken += many
                continue
            self._long(payloads[at])
            at += 1

    def pushed(self, data: bytes) -> None:
        """One read, as the relay deals with it; ``short``: with ``take_read`` first."""
        self.incoming.feed(data)
        if self.short and (framed := self.runs.take_read(self.incoming, 1.0)):
            self.sent.append(framed)
            self.taken += 1
            return
        for payload in self.incoming.read(1.0):
            if not self.stopped:
                self._long(payload)

    def _long(self, payload: bytes) -> None:
        chunk = decode_chunk(payload)
        self.meter.add(chunk)
        framed = self.splicer.event(payload, drop_usage=False)
        if self.meter.over_limit() or not self.meter.covered():
            self.stopped = True
            return
        self.sent.append(framed)
        self.runs.learn(payload, chunk)
        self.runs.lease_ahead()


def event(text: str, kind: str) -> bytes:
    delta: dict[str, Any] = {"content": text} if kind != "tool" else {"tool_calls": [{"function": {"arguments": text}}]}
    if kind == "odd":
        delta["role"] = "assistant"
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if kind == "stop" else None}
    return json.dumps({**HEAD, "choices": [choice]}, separators=(",", ":")).encode()


EVENTS = st.tuples(st.text(max_size=12), st.sampled_from(["plain", "plain", "plain", "plain", "odd", "tool", "stop"]))


@settings(max_examples=200, deadline=None)
@given(reads=st.lists(st.lists(EVENTS, max_size=8), min_size=1, max_size=12))
def test_both_ways_deliver_and_count_the_same(reads: list[list[tuple[str, str]]]) -> None:
    short, long = Side(True), Side(False)
    for read in reads:
        payloads = [event(text, kind) for text, kind in read]
        short.read(payloads)
        long.read(payloads)
        assert b"".join(short.sent) == b"".join(long.sent)
        assert short.stopped == long.stopped
        if long.stopped:
            return
        assert short.meter.counted == long.meter.counted
        assert short.meter.events == long.meter.events
        assert short.meter.counted <= short.meter.lease
    assert short.meter.ending() == long.meter.ending()


FRAMES = st.sampled_from(
    [b"data: %b\n\n"] * 4 + [b"data:%b\n\n", b"data: %b\r\n\r\n", b": x\n\ndata: %b\n\n", b"data: %b \n\n"]
)


@settings(max_examples=200, deadline=None)
@given(
    events=st.lists(st.tuples(EVENTS, FRAMES, st.none() | st.integers(1, 200)), min_size=1, max_size=30),
)
def test_a_read_that_is_an_event_is_dealt_with_as_any_other(
    events: list[tuple[tuple[str, str], bytes, int | None]],
) -> None:
    short, long = Side(True), Side(False)
    for (text, kind), frame, cut in events:
        framed = frame % event(text, kind)
        for read in (framed,) if cut is None or cut >= len(framed) else (framed[:cut], framed[cut:]):
            for side in (short, long):
                if not side.stopped:
                    side.pushed(read)
        assert short.sent == long.sent
        assert short.stopped == long.stopped
        if long.stopped:
            return
        assert short.meter.events == long.meter.events
    assert short.meter.counted == long.meter.counted <= short.meter.lease
    assert short.meter.ending() == long.meter.ending()
    assert short.incoming.gaps.p99_ms() == long.incoming.gaps.p99_ms()


def test_one_event_a_read_takes_the_shortest_way() -> None:
    side = Side(True, lease=1000, r_output=1000)
    for _ in range(50):
        side.pushed(b"data: " + event("b", "plain") + b"\n\n")
    side.pushed(b"data: " + event("", "stop") + b"\n\n")
    assert side.taken == 50 - 1 and len(side.sent) == 51


def test_an_event_that_is_too_large_is_not_taken() -> None:
    side = Side(True, lease=9000, r_output=9000)
    side.pushed(b"data: " + event("b", "plain") + b"\n\n")
    with pytest.raises(EventTooLarge):
        side.pushed(b"data: " + event("b" * 1000, "plain") + b"\n\n")


def test_plain_events_take_the_short_way() -> None:
    side = Side(True, lease=1000, r_output=1000)
    side.read([event("a", "odd"), *[event("b", "plain")] * 50, event("", "stop")])
    side.read([event("b", "plain")])
    assert side.taken == 50 - 1 + 1  # the first one of their shape is decoded


def test_a_row_that_the_lease_does_not_cover_is_looked_at_once() -> None:
    side = Side(True, lease=100, r_output=100)
    side.read([event("a", "plain"), *[event("b" * 10, "plain")] * 20])
    assert side.stopped and side.taken == 0
    assert side.meter.counted == 101
    assert len(side.sent) == 10


def test_a_stream_that_changes_its_shape_all_the_time_stops_learning() -> None:
    side = Side(True, lease=1000, r_output=1000)
    for _ in range(20):
        side.read([event("a", "plain"), event("a", "odd")])
    assert side.runs._lessons == 0
    assert 0 < side.taken <= 20 and side.meter.events == 40
