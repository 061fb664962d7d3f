"""Cool-down of an upstream that fails: a pure decision, time is an argument (seconds, monotonic).

Closed → (``threshold`` faults in a row, or a 429 with Retry-After) → cooling until a time → one request may try →
closed again, or cooling twice as long, up to ``LONGEST_S``. A cooling upstream is tried last, never skipped: refusing
what might work helps nobody who has a single upstream.
"""

from __future__ import annotations

LONGEST_S = 120.0


class Breaker:
    """The state of one upstream."""

    def __init__(self, cooldown_s: float, threshold: int = 3) -> None:
        self._cooldown_s = cooldown_s
        self._threshold = threshold
        self._faults = 0
        self._until = 0.0

    def cooling(self, now: float) -> bool:
        """True while others should be tried first."""
        return now < self._until

    @property
    def until(self) -> float:
        """When its cool-down ends (or ended); 0.0 without one."""
        return self._until

    def succeeded(self) -> None:
        self._faults = 0
        self._until = 0.0

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        """A fault at ``now``; ``retry_after_s`` is the upstream's own word and counts at once."""
        self._faults += 1
        if retry_after_s is not None:
            self._until = max(self._until, now + min(retry_after_s, LONGEST_S))
        elif self._faults >= self._threshold:
            doublings = min(self._faults - self._threshold, 8)
            self._until = max(self._until, now + min(self._cooldown_s * 2**doublings, LONGEST_S))

    def state(self, now: float) -> str:
        """``closed``, ``cooling`` or ``trial``, for logs, metrics and the console."""
        if self.cooling(now):
            return "cooling"
        return "closed" if self._faults < self._threshold else "trial"
