"""The ledger's clock and day where several processes share them: the database's clock, the furthest day of all.

The thread follows what each batch reads there; the loop is told what it says by this machine's clock in between.
"""

from __future__ import annotations

from copy import copy

from streamrouter.clock import Clock
from streamrouter.ledger.days import Days


class Calendar:
    """One process's view of it. ``read`` is the thread's, the properties are the loop's."""

    def __init__(self, clock: Clock, now_ns: int, last_day: int, accepted: int) -> None:
        """``now_ns``, ``last_day``, ``accepted``: the database's clock, and what its table ``meta`` says."""
        self._clock = clock
        self._days = Days(last_day, now_ns, clock.boottime())
        self._accepted = accepted
        self._ahead_ns = now_ns - clock.now_ns()

    def read(self, now_ns: int, last_day: int, accepted: int) -> int:
        """The day at a moment that was read from the database."""
        self._ahead_ns = now_ns - self._clock.now_ns()
        days, boottime_s = copy(self._days), self._clock.boottime()
        if accepted != self._accepted:
            self._accepted = accepted
            days.accept(now_ns, boottime_s)
            days.last_day = last_day
        days.last_day = max(days.last_day, last_day)
        day = days.at(now_ns, boottime_s)
        self._days = days  # in one step: the loop looks at it
        return day

    @property
    def now_ns(self) -> int:
        """The database's clock, as far as this machine's tells it."""
        return self._clock.now_ns() + self._ahead_ns

    @property
    def day(self) -> int:
        """The ledger's day now."""
        return self._now().last_day

    @property
    def alarm(self) -> str | None:
        """Why the ledger does not follow the clock's date, or None."""
        return self._now().alarm

    def _now(self) -> Days:
        days = copy(self._days)
        days.at(self.now_ns, self._clock.boottime())
        return days
