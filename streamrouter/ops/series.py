"""What happened when: requests, errors, tokens, cost and times, in slots of some seconds, kept for some hours.

A slot is counted into once per settled request, never per event. Only the current one is a set of counters; what is
over is packed into a tuple (about 400 bytes), and a slot in which nothing happened is not there at all. Pure: time is
an argument (Unix seconds). See docs/admin-api.md "Series".
"""

from __future__ import annotations

from msgspec import Struct, field

from streamrouter.ops import histogram
from streamrouter.ops.histogram import Histogram

STEP_S = 5
KEPT_S = 24 * 3600
MINUTE_S = 60


class Sample(Struct, frozen=True, kw_only=True):
    """What one settled request adds. Tokens are charged ones, ``cost`` is nano-USD, times are milliseconds."""

    error: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    ttft_ms: int | None = None
    gap_p99_ms: int | None = None


class Slot(Struct):
    """The sum of some samples. ``active``: the most requests in flight at once."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    active: int = 0
    ttft: Histogram = field(default_factory=dict)
    gap: Histogram = field(default_factory=dict)

    def count(self, sample: Sample) -> None:
        """One more request."""
        self.requests += 1
        self.errors += sample.error
        self.input_tokens += sample.input_tokens
        self.output_tokens += sample.output_tokens
        self.cost += sample.cost
        self.times(sample)

    def times(self, sample: Sample) -> None:
        """The times of a request that is counted elsewhere."""
        if sample.ttft_ms is not None:
            histogram.add(self.ttft, sample.ttft_ms)
        if sample.gap_p99_ms is not None:
            histogram.add(self.gap, sample.gap_p99_ms)

    def merge(self, other: Slot) -> None:
        """All of ``other`` as well; ``active`` is the larger one."""
        self.requests += other.requests
        self.errors += other.errors
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost += other.cost
        self.active = max(self.active, other.active)
        histogram.merge(self.ttft, other.ttft)
        histogram.merge(self.gap, other.gap)


Packed = tuple[int, int, int, int, int, int, bytes, bytes]


def _packed(slot: Slot) -> Packed:
    return (
        slot.requests,
        slot.errors,
        slot.input_tokens,
        slot.output_tokens,
        slot.cost,
        slot.active,
        histogram.pack(slot.ttft),
        histogram.pack(slot.gap),
    )


def _unpacked(packed: Packed) -> Slot:
    return Slot(*packed[:6], histogram.unpack(packed[6]), histogram.unpack(packed[7]))


class Series:
    """Slots of ``step_s`` seconds, the last ``kept_s`` seconds of them. A slot's number is its time by ``step_s``."""

    def __init__(self, started_s: int, step_s: int = STEP_S, kept_s: int = KEPT_S) -> None:
        self.started_s = started_s
        self.step_s = step_s
        self._most = kept_s // step_s
        self._past: dict[int, Packed] = {}  # by number, in order of time
        self._number = started_s // step_s
        self._slot = Slot()

    def count(self, now_s: int, sample: Sample) -> None:
        """A request was settled now."""
        self._current(now_s).count(sample)

    def times(self, now_s: int, sample: Sample) -> None:
        """The times of a request that was counted before."""
        self._current(now_s).times(sample)

    def active(self, now_s: int, requests: int) -> None:
        """That many requests are in flight now."""
        if requests:
            slot = self._current(now_s)
            slot.active = max(slot.active, requests)

    def _current(self, now_s: int) -> Slot:
        number = now_s // self.step_s
        if number > self._number:  # a clock that was set back goes on counting where it was
            if self._slot != Slot():
                self._past[self._number] = _packed(self._slot)
            self._number, self._slot = number, Slot()
            while self._past and (oldest := next(iter(self._past))) <= number - self._most:
                del self._past[oldest]
        return self._slot

    def begins_s(self, now_s: int) -> int:
        """The first minute that is kept and is wholly ours (its first second): what is before it comes in minutes."""
        oldest = max(self.started_s + 1, now_s - self._most * self.step_s)
        return -(-oldest // MINUTE_S) * MINUTE_S

    def between(self, since_s: int, until_s: int) -> Slot:
        """Everything from ``since_s`` up to before ``until_s`` as one slot."""
        whole = Slot()
        for number in range(since_s // self.step_s, -(-until_s // self.step_s)):
            if number == self._number:
                whole.merge(self._slot)
            elif number in self._past:
                whole.merge(_unpacked(self._past[number]))
        return whole
