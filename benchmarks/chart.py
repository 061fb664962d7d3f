"""Charts as SVG text: a row per gateway, a column per figure, each on its own logarithmic axis. No external request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from benchmarks.bars import OURS
from benchmarks.results import Run
from benchmarks.tables import number, order

ROW = 30
LABEL = 132
GUTTER = 60  # right of an axis, for the value
TOP = 74
BOTTOM = 46
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #59636e } .head { font-weight: 600 }
.ours { font-weight: 700 } .grid { stroke: #d1d9e0; stroke-width: 1 } .stem { stroke: #8c959f; stroke-width: 2 }
.dot { fill: #8c959f } .round { fill: #8c959f; opacity: .35 } .back { fill: #ffffff }
.stem.us { stroke: #0969da; stroke-width: 3 } .dot.us, .round.us { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .grid { stroke: #3d444d } .back { fill: #0d1117 }
  .stem { stroke: #656c76 } .dot, .round { fill: #9198a1 }
  .stem.us { stroke: #4493f8 } .dot.us, .round.us { fill: #4493f8 }
}
"""


class Column(NamedTuple):
    """A figure: what it is, per gateway its value (None: not measured) and what it was made of."""

    title: str
    unit: str
    values: dict[str, float | None]
    rounds: dict[str, list[float]]
    least: float = 0.1  # what is smaller is drawn here


def cpu_column(run: Run, load: str, title: str) -> Column:
    """CPU per unit of a load."""
    rounds = {
        name: [each.cpu_us for each in run.rounds if (each.gateway, each.load) == (name, load)] for name in order(run)
    }
    return Column(title, "µs", {name: run.cpu_us(name, load) for name in rounds}, rounds, 1.0)


def main_chart(run: Run) -> str:
    """The one for the README."""
    columns = [
        cpu_column(run, "paced", "per relayed event"),
        cpu_column(run, "whole32", "per whole answer"),
        cpu_column(run, "burst", "per burst of 100 events"),
    ]
    rounds = 1 + max((each.number for each in run.rounds), default=0)
    note = (
        f"Medians of {rounds} interleaved rounds (small dots: each round), {run.machine['cores']} cores, "
        f"{run.machine['cpu']}, {run.at[:10]}. Logarithmic axes; further left is better."
    )
    return columns_chart("CPU time a gateway needs, in microseconds", order(run), columns, note)


def latency_chart(run: Run) -> str:
    """Latency and memory."""
    figures: list[tuple[str, str, Callable[[str], float | None], float]] = [
        ("TTFT added, p50", "ms", lambda name: run.added_ms(name, "first", lambda r: r.first_ms.p50), 0.1),
        ("TTFT added, p99", "ms", lambda name: run.added_ms(name, "first", lambda r: r.first_ms.p99), 0.1),
        ("gap added, p99", "ms", lambda name: run.added_ms(name, "paced", lambda r: r.gap_ms.p99), 0.1),
        ("memory per stream", "KiB", run.kib_per_stream, 1.0),
    ]
    columns = [
        Column(title, unit, {name: figure(name) for name in order(run)}, {}, least)
        for title, unit, figure, least in figures
    ]
    return columns_chart("Latency added over direct, and memory", order(run), columns, "Logarithmic axes.")


def columns_chart(title: str, names: Sequence[str], columns: Sequence[Column], note: str, width: int = 920) -> str:
    """The SVG."""
    height = TOP + ROW * len(names) + BOTTOM
    each = (width - LABEL - 16) / max(1, len(columns))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>',
        f'<rect class="back" width="{width}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
    ]
    for row, name in enumerate(names):
        mark = ' class="ours"' if name == OURS else ""
        parts.append(f'<text{mark} x="16" y="{_y(row) + 4.5:.1f}">{escape(name)}</text>')
    for number_, column in enumerate(columns):
        parts += _column(column, names, LABEL + number_ * each, each - GUTTER)
    parts.append(f'<text class="small" x="16" y="{height - 12}">{escape(note)}</text></svg>')
    return "\n".join(parts) + "\n"


def _y(row: int) -> float:
    return TOP + ROW * (row + 0.5)


def _column(column: Column, names: Sequence[str], left: float, width: float) -> list[str]:
    """An axis with its dots."""
    known = [max(column.least, value) for value in column.values.values() if value is not None]
    low = floor(log10(min(known, default=column.least)))
    high = max(low + 1, ceil(log10(max(known, default=1.0))))

    def x(value: float) -> float:
        return left + width * (log10(max(column.least, value, 10.0**low)) - low) / (high - low)

    bottom = TOP + ROW * len(names)
    parts = [f'<text class="head" x="{left:.1f}" y="52">{escape(column.title)}</text>']
    for power in range(low, high + 1):
        at = left + width * (power - low) / (high - low)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        label = f"{10.0**power:g}"
        parts.append(f'<text class="small" x="{at:.1f}" y="{bottom + 14}" text-anchor="middle">{label}</text>')
    for row, name in enumerate(names):
        value = column.values.get(name)
        if value is None:
            parts.append(f'<text class="small" x="{left + 4:.1f}" y="{_y(row) + 4:.1f}">not measured</text>')
            continue
        mark, y = " us" if name == OURS else "", f"{_y(row):.1f}"
        parts.append(f'<line class="stem{mark}" x1="{left:.1f}" x2="{x(value):.1f}" y1="{y}" y2="{y}"/>')
        parts += [
            f'<circle class="round{mark}" cx="{x(one):.1f}" cy="{y}" r="2.5"/>' for one in column.rounds.get(name, [])
        ]
        parts.append(f'<circle class="dot{mark}" cx="{x(value):.1f}" cy="{y}" r="5.5"/>')
        text = f"{number(value)} {column.unit}"
        strong = ' class="ours"' if mark else ""
        parts.append(f'<text{strong} x="{x(value) + 10:.1f}" y="{_y(row) + 4.5:.1f}">{escape(text)}</text>')
    return parts
