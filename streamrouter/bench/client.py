"""The connections of a load: raw protocols that send a request, count its answer and note when it came."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from typing import cast

from streamrouter.bench.answer import Answer
from streamrouter.bench.target import Target

_NO_GAPS = bytes(8 * 4096)


class Tally:
    """What all connections of a load saw so far; times in seconds."""

    def __init__(self) -> None:
        self.requests = 0  # that came to an end, well or not
        self.events = 0
        self.tokens = 0
        self.bytes = 0
        self.errors: Counter[str] = Counter()
        self.first_s = array("d")  # from the moment a request was due to the first event, or to the whole answer
        self.gaps_s = array("d")  # between two events; 0 where they came in one piece
        self.total_s = array("d")


class Connection(asyncio.Protocol):
    """One connection, one request at a time. ``ended`` is called with it when a request is over or the connection is.

    ``usable`` tells then whether another request can be sent, ``stale`` that this one has to be sent again: the server
    had closed the idle connection at that moment (RFC 9112, 9.3.1), which is nobody's error.
    """

    transport: asyncio.Transport
    lost: asyncio.Future[None]  # its socket is closed

    def __init__(
        self, target: Target, tally: Tally, ended: Callable[[Connection], None], *, thorough: bool = False
    ) -> None:
        self._request = target.request
        self._tally = tally
        self._ended = ended
        self._answer = Answer(stream=target.stream, thorough=thorough)
        self._event_at = 0.0
        self._asked = 0
        self.due_at = self.heard_at = 0.0
        self.busy = False
        self.stale = False
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.lost = asyncio.get_running_loop().create_future()
        self.usable = True

    def ask(self, due_at: float) -> None:
        """Send the request; ``due_at`` is when it should have been sent, and what its latency counts from."""
        self.busy = True
        self._asked += 1
        self.due_at = due_at
        self._event_at = 0.0
        self.heard_at = perf_counter()
        self._answer.reset()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        now = self.heard_at = perf_counter()
        if not self.busy:
            return  # a goodbye of the server's; what it means is known when it has closed
        tally, answer = self._tally, self._answer
        tally.bytes += len(data)
        events = answer.feed(data)
        if events:
            self._count(events, now)
        if answer.over:
            if not self._event_at:
                tally.first_s.append(now - self.due_at)
            self._end(answer.ending(), now)

    def _count(self, events: int, now: float) -> None:
        tally = self._tally
        tally.events += events
        if self._event_at:
            tally.gaps_s.append(now - self._event_at)
        else:
            tally.first_s.append(now - self.due_at)
        self._event_at = now
        if events > 1:
            tally.gaps_s.frombytes(_NO_GAPS[: 8 * (events - 1)])

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self.usable = False
        if not self.lost.done():
            self.lost.set_result(None)
        if self.busy and not self._answer.status and self._asked > 1:
            self.busy, self.stale = False, True
            self._ended(self)
        elif self.busy:
            self._answer.eof()
            self._end(self._answer.ending(), perf_counter())

    def expire(self) -> None:
        """Give the request up: the server has been silent for too long."""
        self._answer.keep = False
        self._end("timeout", perf_counter())

    def _end(self, error: str, now: float) -> None:
        tally, answer = self._tally, self._answer
        self.busy = False
        tally.requests += 1
        tally.tokens += answer.tokens
        if error:
            tally.errors[error] += 1
        else:
            tally.total_s.append(now - self.due_at)
        if not answer.keep and self.usable:
            self.usable = False
            self.transport.abort() if error else self.transport.close()
        self._ended(self)
