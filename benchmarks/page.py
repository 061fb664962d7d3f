"""The report of a comparison as one HTML file: tables and charts inside, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks import tables
from benchmarks.chart import latency_chart, main_chart
from benchmarks.results import Run

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
body { max-width: 960px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; width: 100% }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #8885; text-align: right; white-space: nowrap }
th:first-child, td:first-child, .words td, .words th { text-align: left } .words td { white-space: normal }
.pass { color: #1a7f37 } .MISS { color: #cf222e; font-weight: 700 } svg { width: 100%; height: auto }
@media (prefers-color-scheme: dark) {
  body { background: #0d1117; color: #f0f6fc } .pass { color: #3fb950 } .MISS { color: #f85149 }
}
"""
READ_ME = (
    "The same load, on the same machine, in one run: direct to a raw upstream, then through each gateway in turn, "
    "round after round. CPU is that of the gateway's whole process tree, from /proc; latencies are what was added to "
    "the direct load of the same round. Medians over the rounds."
)


def table(headings: Sequence[str], rows: Sequence[tables.Row], kind: str = "") -> str:
    """An HTML table; a verdict's cell has the verdict as its class."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("pass", "MISS") else ""
    return f"<td{mark}>{escape(text)}</td>"


def page(run: Run) -> str:
    """All of it."""
    on = run.machine
    where = f"{on['cores']} cores, {on['cpu']}, {on['memory_gib']} GiB, Linux {on['kernel']}, Python {on['python']}"
    where += f", load average before the run {on['busy']}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>streamrouter: comparison of {escape(run.at)}</title><style>{STYLE}</style>",
        f"<h1>What a gateway costs</h1><p>{escape(READ_ME)}</p><p>{escape(run.at)}; {escape(where)}</p>",
        main_chart(run),
        "<h2>Figures</h2>",
        table(tables.HEADINGS, tables.comparison(run)),
        "<h2>Bars</h2>",
        table(tables.BAR_HEADINGS, tables.verdicts(run)),
        "<h2>Latency and memory</h2>",
        latency_chart(run),
        "<h2>CPU in units of ours</h2>",
        table(tables.RATIO_HEADINGS, tables.ratios(run)),
        "<h2>Nothing in between</h2>",
        table(tables.DIRECT_HEADINGS, tables.direct(run)),
        "<h2>What each one does here</h2>",
        table(tables.ABOUT_HEADINGS, tables.abouts(run), "words"),
        "</html>",
    ]
    return "\n".join(parts) + "\n"
