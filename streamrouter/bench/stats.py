"""Percentiles of what a load measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How a latency is spread, in milliseconds over ``count`` samples; all 0 where there are none."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


def quantile(ordered: Sequence[float], q: float) -> float:
    """The ``q`` quantile of sorted values by the nearest rank: always one that was seen; 0 for nothing."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def quantile_ms(values_s: Iterable[float], q: float) -> float:
    """The ``q`` quantile in milliseconds of values in seconds, in any order."""
    return quantile(sorted(values_s), q) * 1000


def spread_ms(values_s: Iterable[float]) -> Spread:
    """The spread of values that are in seconds."""
    ordered = sorted(values_s)
    p50, p90, p99 = (round(quantile(ordered, q) * 1000, 3) for q in (0.5, 0.9, 0.99))
    return Spread(len(ordered), p50, p90, p99, round(ordered[-1] * 1000, 3) if ordered else 0.0)
