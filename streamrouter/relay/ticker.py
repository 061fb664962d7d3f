"""One timer for all streams: deadlines and keep-alives without a task or a timer per stream."""

from __future__ import annotations

import asyncio
from typing import Protocol

from streamrouter.clock import Clock


class Ticking(Protocol):
    """Something with deadlines, looked at every so often; False when it need not be looked at again."""

    def tick(self, now: float) -> bool: ...


class Ticker:
    """Calls ``tick(now)`` of everything in it every ``period_s``; runs only while something is in it."""

    def __init__(self, clock: Clock, period_s: float) -> None:
        self._clock = clock
        self._period_s = period_s
        self._members: set[Ticking] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Ticking) -> None:
        self._members.add(member)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._tick)

    def __len__(self) -> int:
        return len(self._members)

    def _tick(self) -> None:
        now = self._clock.monotonic()
        for member in list(self._members):
            if not member.tick(now):
                self._members.discard(member)
        if self._members:
            self._timer = asyncio.get_running_loop().call_later(self._period_s, self._tick)
        else:
            self._timer = None
