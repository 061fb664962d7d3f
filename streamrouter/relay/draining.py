"""Reading on without a client (``on_disconnect = "drain"``): for the exact usage, but neither for long nor by many."""

from __future__ import annotations

from collections import Counter

from streamrouter.config.schema import UpstreamConfig


class Drains:
    """How many streams of each upstream are read on at this moment."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()


class Drain:
    """One stream's part in it: not begun, running, or over."""

    def __init__(self, drains: Drains) -> None:
        self._drains = drains
        self._upstream: str | None = None
        self._until = 0.0

    def begin(self, config: UpstreamConfig, upstream: str, now: float) -> bool:
        """Whether the stream may be read on from now (monotonic seconds); else it ends here."""
        if config.on_disconnect != "drain" or self._drains.running[upstream] >= config.drain_most:
            return False
        self._drains.running[upstream] += 1
        self._upstream, self._until = upstream, now + config.drain_s
        return True

    def overdue(self, now: float) -> bool:
        return self._upstream is not None and now >= self._until

    def end(self) -> None:
        """Make room for another; the second time, or without a beginning, nothing happens."""
        if self._upstream is not None:
            self._drains.running[self._upstream] -= 1
            self._upstream = None
