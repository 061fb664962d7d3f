"""Two recorded comparisons side by side: what became cheaper, and what dearer."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results import DIRECT, Run, names
from benchmarks.tables import Row, number

HEADINGS = ("gateway", "figure", "before", "now", "ratio")


def history(before: Run, now: Run) -> list[Row]:
    """A row per gateway that is in both, and figure."""
    both = [name for name in names(now.gateways) if name in names(before.gateways)]
    return [row for name in both for row in _rows(before, now, name)]


def _rows(before: Run, now: Run, name: str) -> list[Row]:
    figures: list[tuple[str, Callable[[Run], float | None]]] = [
        (f"µs/{load.unit}, {load.title}", _cpu(name, load.name)) for load in now.loads if name != DIRECT
    ]
    figures += [
        ("TTFT added p50 ms", lambda run: run.added_ms(name, "first", lambda r: r.first_ms.p50)),
        ("gap added p99 ms", lambda run: run.added_ms(name, "paced", lambda r: r.gap_ms.p99)),
        ("KiB per stream", lambda run: run.kib_per_stream(name)),
    ]
    return [[name, title, *_pair(figure(before), figure(now))] for title, figure in figures]


def _cpu(name: str, load: str) -> Callable[[Run], float | None]:
    return lambda run: run.cpu_us(name, load)


def _pair(old: float | None, new: float | None) -> Row:
    ratio = number(new / old, 2) if old is not None and new is not None and old > 0 < new else "–"
    return [number(old), number(new), ratio]
