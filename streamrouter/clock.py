"""Where time comes from: one object that the app is given, so that a test can hold it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for days and records, monotonic time for durations, boot time to notice a stepped wall clock."""

    def now_ns(self) -> int:
        """Unix time in nanoseconds (UTC)."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never steps."""

    def boottime(self) -> float:
        """Seconds since the machine's boot, suspend included."""


class SystemClock:
    """The machine's own clocks."""

    now_ns = staticmethod(time.time_ns)  # no frame of Python around what every event asks for
    monotonic = staticmethod(time.monotonic)

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
