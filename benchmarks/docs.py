"""The generated parts of docs/: tables between two markers, and the chart, from recorded runs."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import tables
from benchmarks.chart import main_chart
from benchmarks.install import ROOT
from benchmarks.resting import Start
from benchmarks.results import DIRECT, Memory, Run
from benchmarks.scale import Measured, Scaling
from benchmarks.tables import markdown, number

RECORDED = ROOT / "benchmarks" / "recorded"
CHART = ROOT / "docs" / "chart.svg"
PERFORMANCE = ROOT / "docs" / "performance.md"
SCALING = ROOT / "docs" / "scaling.md"
KEPT_UP = 0.97  # of the events that were offered
FULL_CORE = 0.9  # of a core: beyond it gaps grow by themselves


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with ``content`` between the markers of that name. Raises ValueError if they are missing."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers for {name}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def comparison(run: Run) -> str:
    """Everything of a comparison that the document shows."""
    on = run.machine
    rounds = 1 + max((each.number for each in run.rounds), default=0)
    return "\n\n".join(
        [
            f"Recorded {run.at[:10]}: {rounds} rounds, {on['cores']} cores ({on['cpu']}), {on['memory_gib']} GiB, "
            f"Linux {on['kernel']}, Python {on['python']}; load average before it {on['busy']}. "
            "In brackets: requests in flight.",
            markdown(tables.HEADINGS, tables.comparison(run)),
            "CPU in units of streamrouter's:",
            markdown(tables.RATIO_HEADINGS, tables.ratios(run)),
            "The bars:",
            markdown(tables.BAR_HEADINGS, tables.verdicts(run)),
            "What the upstream and the client took themselves, with nothing in between:",
            markdown(tables.DIRECT_HEADINGS, tables.direct(run)),
            "What each does in the comparison:",
            markdown(tables.ABOUT_HEADINGS, tables.abouts(run)),
        ]
    )


def resting(memory: list[Memory], starts: list[Start]) -> str:
    """Memory and starts."""
    rows = [
        [each.gateway, f"{each.streams:,}", number(each.kib_per_stream), number(each.rest_mb, 0)]
        for each in memory
        if not each.failed
    ]
    shown = [markdown(("memory", "open streams", "KiB per stream", "MB before"), rows)]
    if starts:
        healthy, streamed, rest = (
            median(getattr(each, name) for each in starts) for name in ("healthy_s", "streamed_s", "rest_mb")
        )
        shown.append(
            f"From process start to an answer of `/healthz`: {healthy:.2f} s; to the first streamed event: "
            f"{streamed:.2f} s (medians of {len(starts)} starts on a new ledger). At rest afterwards: {rest:.0f} MB."
        )
    return "\n\n".join(shown)


SCALE_HEADINGS = (
    "streams",
    "ms per event",
    "events/s offered",
    "that came",
    "of one core",
    "µs / event",
    "gap p99 (direct) ms",
    "TTFT p99 (direct) ms",
    "MB",
    "failed",
)


def scaling(found: Scaling) -> str:
    """A row per step: ours, with the direct figures in brackets."""
    direct = {(step.streams, step.pace_ms): step for step in found.steps if step.gateway == DIRECT}
    rows = [_scale_row(step, direct[step.streams, step.pace_ms]) for step in found.steps if step.gateway != DIRECT]
    per_core = carried(found)
    return "\n\n".join(
        [
            f"Recorded {found.at[:10]} on {found.machine['cores']} cores ({found.machine['cpu']}), upstream and "
            f"client on the same cores; load average before it {found.machine['busy']}.",
            markdown(SCALE_HEADINGS, rows),
            f"Streams per core at {FULL_CORE:.0%} of it, from the dearest event of the steps that it kept up with:",
            markdown(("tokens/s per stream", "streams per core", "tokens/s in all"), per_core),
        ]
    )


def _scale_row(ours: Measured, direct: Measured) -> list[str]:
    return [
        f"{ours.streams:,}",
        str(ours.pace_ms),
        f"{ours.offered_per_s:,.0f}",
        f"{ours.reached_per_s:,.0f}",
        f"{ours.core:.0%}",
        number(ours.cpu_us),
        f"{ours.report.gap_ms.p99:.1f} ({direct.report.gap_ms.p99:.1f})",
        f"{ours.report.first_ms.p99:.1f} ({direct.report.first_ms.p99:.1f})",
        number(ours.rss_mb, 0),
        str(ours.report.failed),
    ]


def carried(found: Scaling) -> list[list[str]]:
    """How many streams a core carries, from the dearest event of the steps that it kept up with."""
    ours = [step for step in found.steps if step.gateway != DIRECT]
    kept_up = [step for step in ours if step.reached_per_s >= KEPT_UP * step.offered_per_s]
    within = [step.core / step.reached_per_s for step in kept_up]
    per_event_s = max(within, default=0.0)
    if not per_event_s:
        return []
    events = FULL_CORE / per_event_s
    return [[str(rate), f"{events / rate:,.0f}", f"{events:,.0f}"] for rate in (10, 20, 50, 100)]


def write_docs(directory: Path) -> list[str]:
    """Write what the recorded runs in ``directory`` give, keep a copy of them; what was written."""
    written = []
    RECORDED.mkdir(exist_ok=True)
    text = PERFORMANCE.read_text()
    found = {name: _kept(directory, name) for name in ("compare", "memory", "start", "scale")}
    if found["compare"]:
        run = msgspec.json.decode(found["compare"], type=Run)
        text = replaced(text, "comparison", comparison(run))
        CHART.write_text(main_chart(run))
        written.append(str(CHART.relative_to(ROOT)))
    if found["memory"]:
        starts = msgspec.json.decode(found["start"], type=list[Start]) if found["start"] else []
        text = replaced(text, "resting", resting(msgspec.json.decode(found["memory"], type=list[Memory]), starts))
    if text != PERFORMANCE.read_text():
        PERFORMANCE.write_text(text)
        written.append(str(PERFORMANCE.relative_to(ROOT)))
    if found["scale"]:
        content = scaling(msgspec.json.decode(found["scale"], type=Scaling))
        SCALING.write_text(replaced(SCALING.read_text(), "scaling", content))
        written.append(str(SCALING.relative_to(ROOT)))
    return written


def _kept(directory: Path, name: str) -> bytes:
    """A recorded run, copied to the repository; the repository's own where there is no newer one."""
    fresh, kept = directory / f"{name}.json", RECORDED / f"{name}.json"
    if fresh.exists() and fresh != kept:
        kept.write_bytes(fresh.read_bytes())
    return kept.read_bytes() if kept.exists() else b""
