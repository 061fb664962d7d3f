"""The short way for the plain events of a stream: rows of them are taken as one, without decoding each (wire/shape.py).

Only what the long way would deliver without a second thought goes this way: text that the durable lease covers and the
limit allows. Everything else (the first event, a finish, usage, tools, an event at the lease's end) is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamrouter.policy.meter import Meter
from streamrouter.relay.incoming import Incoming
from streamrouter.relay.port import Port
from streamrouter.wire.chunk import Chunk
from streamrouter.wire.shape import Shape, learn
from streamrouter.wire.splice import Splicer

_LESSONS = 8  # a stream whose events change their shape all the time is decoded


class Runs:
    """One stream's."""

    __slots__ = ("_asked", "_lessons", "_meter", "_port", "_refused", "_shape", "_splicer")

    def __init__(self, meter: Meter, splicer: Splicer, port: Port) -> None:
        self._meter = meter
        self._port = port
        self._asked = 0  # the largest lease asked for ahead of time
        self._splicer = splicer
        self._shape: Shape | None = None
        self._lessons = _LESSONS
        self._refused = 0  # while so many payloads are left, they are known to go the long way; 0: none

    def learn(self, payload: bytes, chunk: Chunk) -> None:
        """An event was taken the long way: the next ones may be like it."""
        if self._lessons:
            shape = learn(payload, chunk, self._splicer)
            if shape is not None:
                self._shape = shape
                self._lessons -= 1

    def take_read(self, incoming: Incoming, now: float) -> bytes | None:
        """What leaves for a read that is one plain event, which is counted; None: it is not, and waits to be read."""
        shape = self._shape
        if shape is None or (event := incoming.lone()) is None or (taken := shape.one(event)) is None:
            return None
        framed, text = taken
        if not self._meter.take(shape.index, shape.channel, text, 1):
            return None
        incoming.took(now)
        if self._meter.lease < self._meter.r_output:
            self.lease_ahead()
        return framed

    def take(self, payloads: Sequence[bytes], at: int, out: list[bytes]) -> int:
        """How many payloads from ``at`` on were counted and put ``out``; 0: the next one goes the long way."""
        shape, left = self._shape, len(payloads) - at
        if not at:
            self._refused = 0
        if shape is None or (self._refused and left >= self._refused):
            return 0
        many = shape.length(payloads, at)
        if not many:
            return 0
        run = shape.run(payloads if many == len(payloads) else payloads[at : at + many])
        if run is None or not self._meter.take(shape.index, shape.channel, run.text, many):
            self._refused = left - many + 1  # none of this row is looked at again
            return 0
        out.append(run.framed)
        self.lease_ahead()
        return many

    def lease_ahead(self) -> None:
        """Ask for a longer lease before it is needed."""
        wanted = self._meter.wanted_lease(self._port.lease_block)
        if wanted > self._asked:
            self._asked = wanted
            self._port.extend(wanted, False)
