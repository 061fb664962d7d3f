"""The comparison as rows: for the terminal, for Markdown and for HTML alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.bars import OURS, bars
from benchmarks.results import DIRECT, Run
from streamrouter.bench.report import Report

Row = list[str]

HEADINGS = (
    "gateway",
    "µs / paced event",
    "µs / request (8)",
    "µs / request (32)",
    "µs / burst of 100",
    "TTFT + p50 / p99 ms",
    "gap + p99 ms",
    "MB",
    "KiB / stream",
    "failed",
)
_CPU_LOADS = ("paced", "whole", "whole32", "burst")


def number(value: float | None, digits: int | None = None) -> str:
    """Three figures that matter; a dash for what was not measured."""
    if value is None:
        return "–"
    if digits is None:
        digits = 0 if abs(value) >= 100 else 1
    return f"{value:,.{digits}f}"


def order(run: Run) -> list[str]:
    """The gateways, the cheapest per paced event first."""
    return sorted((about.name for about in run.gateways), key=lambda name: run.cpu_us(name, "paced") or 1e9)


def comparison(run: Run) -> list[Row]:
    """A row per gateway."""
    return [_row(run, name) for name in order(run)]


def _row(run: Run, name: str) -> Row:
    def added(load: str, figure: Callable[[Report], float]) -> str:
        return number(run.added_ms(name, load, figure), 1)

    first = f"{added('first', lambda r: r.first_ms.p50)} / {added('first', lambda r: r.first_ms.p99)}"
    return [
        name,
        *(number(run.cpu_us(name, load)) for load in _CPU_LOADS),
        first,
        added("paced", lambda r: r.gap_ms.p99),
        number(run.rss_mb(name), 0),
        number(run.kib_per_stream(name)),
        str(run.failed(name)),
    ]


def ratios(run: Run) -> list[Row]:
    """CPU of every gateway in units of ours."""
    rows = []
    for name in order(run):
        pairs = [(run.cpu_us(name, load), run.cpu_us(OURS, load)) for load in _CPU_LOADS]
        rows.append([name, *(number(theirs / ours, 2) if theirs and ours else "–" for theirs, ours in pairs)])
    return rows


RATIO_HEADINGS = ("CPU, streamrouter = 1", *HEADINGS[1:5])


def direct(run: Run) -> list[Row]:
    """What upstream and client took themselves when nothing stood between them."""
    rows = []
    for load in run.loads:
        rate = run.median(DIRECT, load.name, lambda each: each.report.requests_per_s)
        rows.append(
            [
                load.title,
                number(run.median(DIRECT, load.name, lambda each: each.upstream_us)),
                number(run.median(DIRECT, load.name, lambda each: each.client_us)),
                number(rate, 0),
                number(run.median(DIRECT, load.name, lambda each: each.report.events_per_s), 0),
                number(run.median(DIRECT, load.name, lambda each: each.report.first_ms.p50), 2),
                number(run.median(DIRECT, load.name, lambda each: each.report.gap_ms.p99), 2),
            ]
        )
    return rows


DIRECT_HEADINGS = ("direct", "upstream µs", "client µs", "requests/s", "events/s", "TTFT p50 ms", "gap p99 ms")


def verdicts(run: Run) -> list[Row]:
    """A row per bar."""
    return [
        [bar.what, number(bar.value, 3 if bar.unit == "×" else 1), f"≤ {bar.most:g} {bar.unit}".rstrip(), bar.verdict]
        for bar in bars(run)
    ]


BAR_HEADINGS = ("bar", "measured", "bar at", "")


def abouts(run: Run) -> list[Row]:
    """What each gateway is, and does in this comparison; at the end those that are not in it."""
    rows = [[about.name, about.version, about.built_in, about.does] for about in run.gateways]
    return rows + [[name, "–", "–", f"not in this run: {why}"] for name, why in run.skipped.items()]


ABOUT_HEADINGS = ("gateway", "version", "in", "does here")


def markdown(headings: Sequence[str], rows: Sequence[Row]) -> str:
    """A table; cells are escaped."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, rows)])
