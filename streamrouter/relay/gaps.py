"""The 99th percentile of the gaps between a stream's reads, in constant memory: the largest gaps are enough for it."""

from __future__ import annotations

import heapq

_KEPT = 32  # exact up to 3,200 gaps; of a longer stream a gap that is rarer than one in a hundred is told


class Gaps:
    """One stream's. Times are monotonic seconds."""

    __slots__ = ("_largest", "_least", "_reads", "_then")

    def __init__(self) -> None:
        self._largest: list[float] = []  # a heap
        self._least = -1.0  # of those; below it a gap changes nothing
        self._reads = 0
        self._then = 0.0

    def read(self, now: float) -> None:
        """A read brought events."""
        gap = now - self._then
        self._then = now
        self._reads += 1
        if gap > self._least and self._reads > 1:
            if len(self._largest) < _KEPT:
                heapq.heappush(self._largest, gap)
            else:
                heapq.heapreplace(self._largest, gap)
                self._least = self._largest[0]

    def p99_ms(self) -> int | None:
        """None below two reads."""
        if not self._largest:
            return None
        rank = (self._reads - 1) // 100  # so many gaps may be larger
        ordered = sorted(self._largest, reverse=True)
        return round(ordered[min(rank, len(ordered) - 1)] * 1000)
