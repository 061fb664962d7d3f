"""Counters and histograms that cost a dictionary look-up to count, and become Prometheus' families when they are read.

prometheus_client's own children take a lock and a chain of checks at every count; these are used on the loop only.
Labels are bounded: after ``MOST_ROWS`` combinations whatever is new is counted as ``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

OTHER = "other"
MOST_ROWS = 2000  # per metric: far above models × surfaces × endings of a real configuration
_PREFIX = "streamrouter_"

Labels = tuple[str, ...]


class Tally:
    """A counter. ``unit``: what one is of what is shown (nano-USD of USD: 1e-9)."""

    def __init__(self, name: str, about: str, *labels: str, unit: float = 1) -> None:
        self.name = name
        self._about = about
        self._labels = labels
        self._unit = unit
        self._values: dict[Labels, int] = {}
        if not labels:
            self._values[()] = 0

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        """Count ``amount`` more under the values of the labels."""
        values = self._values
        if labels in values:
            values[labels] += amount
        elif len(values) < MOST_ROWS:
            values[labels] = amount
        else:
            others = (OTHER,) * len(labels)
            values[others] = values.get(others, 0) + amount

    def family(self) -> Metric:
        """As it is now."""
        family = CounterMetricFamily(_PREFIX + self.name, self._about, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value * self._unit)
        return family


class Spread:
    """A histogram over ``bounds`` (ascending), by one label or none."""

    def __init__(self, name: str, about: str, bounds: tuple[float, ...], label: str | None = None) -> None:
        self.name = name
        self._about = about
        self._bounds = bounds
        self._labels = [label] if label else []
        self._rows: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        if label is None:
            self._row("")

    def _row(self, label: str) -> list[int]:
        self._sums[label] = 0.0
        row = self._rows[label] = [0] * (len(self._bounds) + 1)
        return row

    def observe(self, value: float, label: str = "") -> None:
        """One more of ``value``."""
        row = self._rows.get(label)
        if row is None:
            if len(self._rows) >= MOST_ROWS:
                label = OTHER
            row = self._rows.get(label) or self._row(label)
        row[bisect_left(self._bounds, value)] += 1
        self._sums[label] += value

    def family(self) -> Metric:
        """As it is now."""
        family = HistogramMetricFamily(_PREFIX + self.name, self._about, labels=self._labels)
        for label, row in self._rows.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, map(float, self._bounds)), "+Inf"), row, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([label] if self._labels else [], buckets, sum_value=self._sums[label])
        return family


class Level:
    """A value, or several by their labels, that is read when the page is."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name = name
        self._about = about
        self._labels = labels
        self.read: Callable[[], Mapping[Labels, float]] = dict

    def family(self) -> Metric:
        """As it is now."""
        family = GaugeMetricFamily(_PREFIX + self.name, self._about, labels=self._labels)
        for labels, value in self.read().items():
            family.add_metric(labels, value)
        return family


def families(metrics: list[Tally | Spread | Level]) -> Iterator[Metric]:
    """All of them, as they are now."""
    for metric in metrics:
        yield metric.family()
