"""The short way of the relay against its long way: the same events leave, the same is counted and charged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.policy.meter import Meter
from streamrouter.relay.port import Port
from streamrouter.relay.runs import Runs
from streamrouter.wire.chunk import decode_chunk
from streamrouter.wire.splice import Splicer

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
