"""What a running server remembers of its traffic: the series, one per upstream, and the last requests' moments.

It is told once per settlement and once per attempt at an upstream, never per event. The books do not depend on it.
"""

from __future__ import annotations

from typing import Protocol

from streamrouter.admin.desk import Recent
from streamrouter.errors import RULES
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ops.series import MINUTE_S, Sample, Series, Slot
from streamrouter.policy.endings import Ending

MOST_RECENT = 2000  # requests whose moments are remembered: about 600 bytes each
MOST_UPSTREAMS = 200
UPSTREAM_KEPT_S = 3600
_WELL, _FAILED = Sample(), Sample(error=True)
_MOST_MINUTES = 24 * 60  # that wait for the ledger's file to be writable again


class Listener(Protocol):
    """Somebody who is told of each settlement."""

    def __call__(self, hold: Hold, settled: Settled, /, *, failed: bool) -> None: ...


class Watch:
    """``started_s``: Unix seconds. ``listeners`` are told of each settlement (the live feed, while it is watched)."""

    def __init__(self, started_s: int) -> None:
        self.series = Series(started_s)
        self.upstreams: dict[str, Series] = {}
        self.recent: dict[str, Recent] = {}
        self.listeners: list[Listener] = []
        self._unwritten = started_s // MINUTE_S  # the first minute that is not in the books yet

    def settled(self, now_s: int, hold: Hold, ending: Ending, settled: Settled) -> None:
        """A request is over and booked."""
        sample = Sample(
            error=failed(ending.reason),
            input_tokens=settled.input_tokens,
            output_tokens=settled.output_tokens,
            cost=settled.cost,
            ttft_ms=ending.ttft_ms,
            gap_p99_ms=ending.gap_p99_ms,
        )
        self.series.count(now_s, sample)
        if ending.ttft_ms is not None:
            self._times(ending.upstream, now_s, sample)
        self.recent[hold.id] = Recent(ending.answer_ms, ending.attempts)
        if len(self.recent) > MOST_RECENT:
            del self.recent[next(iter(self.recent))]
        for listener in self.listeners:
            listener(hold, settled, failed=sample.error)

    def _times(self, upstream: str, now_s: int, sample: Sample) -> None:
        of_upstream = self._of(upstream, now_s)
        if of_upstream is not None:
            of_upstream.times(now_s, sample)

    def attempted(self, now_s: int, upstream: str, outcome: str) -> None:
        """An upstream was tried; ``outcome`` is ``ok`` or an error code."""
        of_upstream = self._of(upstream, now_s)
        if of_upstream is not None:
            of_upstream.count(now_s, _WELL if outcome == "ok" else _FAILED)

    def _of(self, upstream: str, now_s: int) -> Series | None:
        found = self.upstreams.get(upstream)
        if found is None and len(self.upstreams) < MOST_UPSTREAMS:
            found = self.upstreams[upstream] = Series(now_s, MINUTE_S, UPSTREAM_KEPT_S)
        return found

    def of_upstream(self, upstream: str, now_s: int) -> Slot:
        """An upstream's last hour: attempts, errors, and the times of the requests that it served."""
        found = self.upstreams.get(upstream)
        return Slot() if found is None else found.between(now_s - UPSTREAM_KEPT_S + MINUTE_S, now_s + MINUTE_S)

    def minutes(self, now_s: int, *, whole: bool = True) -> dict[int, Slot]:
        """The minutes that are over and not in the books; ``whole`` False: the current one as well."""
        last = now_s // MINUTE_S + (not whole)
        first = max(self._unwritten, last - _MOST_MINUTES)
        found = {}
        for minute in range(first, last):
            slot = self.series.between(minute * MINUTE_S, (minute + 1) * MINUTE_S)
            if slot != Slot():
                found[minute] = slot
        return found

    def written(self, now_s: int) -> None:
        """The minutes that were over at ``now_s`` are in the books."""
        self._unwritten = max(self._unwritten, now_s // MINUTE_S)


def failed(reason: str) -> bool:
    """Whether an end is a failure of ours or of the upstream's (not the client's, not an admin's)."""
    return reason in RULES and RULES[reason].status >= 500
