"""How long somebody who got it wrong must wait before the next try: doubling, per name and per address (S12).

Nobody is ever locked out for good, so nobody can lock another out: the wait ends at ``_LONGEST_S``, and what failed is
forgotten after ``_FORGET_S``. Time is an argument, in seconds that never step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

_FREE = 3  # so many mistakes cost nothing: fingers slip
_FIRST_S = 1.0
_LONGEST_S = 15 * 60.0
_FORGET_S = 60 * 60.0


class _Record(Struct):
    failures: int = 0
    free_at: float = 0.0
    last: float = 0.0


class Delays:
    """A bounded table; where it is full, who has been silent for the longest is forgotten first.

    ``free``: how many mistakes cost nothing.
    """

    def __init__(self, most: int = 10_000, free: int = _FREE) -> None:
        self._most = most
        self._free = free
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def wait_s(self, who: Iterable[str], now: float) -> float:
        """Seconds until the next try is welcome; 0: now. The longest wait of all that it is known by."""
        return max(0.0, *(record.free_at - now for each in who if (record := self._of(each, now))), 0.0)

    def failed(self, who: Iterable[str], now: float) -> None:
        """One more mistake. Counted when the try begins, so that a hundred at once are a hundred."""
        for each in who:
            record = self._of(each, now) or _Record()
            record.failures += 1
            record.last = now
            over = record.failures - self._free
            if over >= 0:
                record.free_at = now + min(_LONGEST_S, _FIRST_S * 2.0 ** min(over, 30))
            self._records[each] = record
            self._records.move_to_end(each)
        while len(self._records) > self._most:
            self._records.popitem(last=False)

    def forgiven(self, who: str) -> None:
        """It was right: the slate is clean."""
        self._records.pop(who, None)

    def taken_back(self, who: str) -> None:
        """This one try was no mistake; those before it still count."""
        record = self._records.get(who)
        if record is not None:
            record.failures -= 1
            record.free_at = 0.0
            if record.failures <= 0:
                del self._records[who]

    def _of(self, who: str, now: float) -> _Record | None:
        record = self._records.get(who)
        if record is not None and now - record.last > _FORGET_S:
            del self._records[who]
            return None
        return record
