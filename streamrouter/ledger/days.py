"""Which UTC day the ledger is in: it never goes back, and it does not follow a wall clock that leaps ahead.

A stepped clock must not hand out a second daily cap. Backwards: the day stays. Forwards by more than 36 hours against
the machine's boot clock: the day stays too, with an alarm, until an operator accepts the date. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

DAY_NS = 86_400_000_000_000
LEAP_NS = 36 * 3_600_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(day: int) -> str:
    """``YYYY-MM-DD`` of a day number."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


class Days:
    """The day of one ledger, from the moment that it was opened. ``boottime_s`` counts seconds, suspend included."""

    def __init__(self, last_day: int, now_ns: int, boottime_s: float) -> None:
        self.last_day = last_day
        self.alarm: str | None = None
        self._anchor(now_ns, boottime_s)

    def _anchor(self, now_ns: int, boottime_s: float) -> None:
        self._started_ns = now_ns - round(boottime_s * 1e9)

    def at(self, now_ns: int, boottime_s: float) -> int:
        """The ledger's day; sets or clears ``alarm``."""
        today = now_ns // DAY_NS
        leap = now_ns - round(boottime_s * 1e9) - self._started_ns
        if leap > LEAP_NS:
            self.alarm = self._told(today, f"the clock leapt {leap // 3_600_000_000_000} hours ahead")
        elif today < self.last_day - 1:
            self.alarm = self._told(today, "the clock is behind the ledger")
        else:
            self.alarm = None
            self.last_day = max(self.last_day, today)
        return self.last_day

    def _told(self, today: int, what: str) -> str:
        return (
            f"{what}: it says {iso(today)}, the ledger keeps {iso(self.last_day)}; correct the clock, or accept its "
            "date: streamrouter ledger day --accept"
        )

    def accept(self, now_ns: int, boottime_s: float) -> int:
        """Take the wall clock's date as it is, in either direction."""
        self._anchor(now_ns, boottime_s)
        self.last_day = now_ns // DAY_NS
        self.alarm = None
        return self.last_day
