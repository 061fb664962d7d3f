"""``GET /admin/api/series``: an hour to a month of traffic in at most 400 steps.

What this process has seen comes from its memory, in steps of 5 seconds or more; minutes before its start come from
the ledger's file, where a step is at least a minute. Where other processes share the ledger, all minutes come from
there except those that we have not written yet. See docs/admin-api.md "Series".
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from streamrouter.config.place import is_database
from streamrouter.ledger import rollups
from streamrouter.ops import histogram
from streamrouter.ops.series import MINUTE_S, Series, Slot
from streamrouter.policy.money import nano_to_usd
from streamrouter.web.console.answers import server
from streamrouter.web.console.route import Body, Context, Route

Range = Literal["1h", "6h", "24h", "7d", "30d"]


_BREATH_S = 600  # so much of memory is added up at once: 120 slots, less than a millisecond


class Span(NamedTuple):
    """How far back, in which steps (seconds)."""

    length_s: int
    step_s: int


SPANS: dict[str, Span] = {
    "1h": Span(3600, 10),
    "6h": Span(6 * 3600, 60),
    "24h": Span(24 * 3600, 300),
    "7d": Span(7 * 86_400, 1800),
    "30d": Span(30 * 86_400, 7200),
}


class Wanted(Body, frozen=True):
    """``range``: up to now."""

    range: Range = "1h"


async def series(context: Context) -> Any:
    """The chart's lines."""
    span, shared = SPANS[context.query.range], is_database(context.site.ledger.path)
    if shared:
        span = span._replace(step_s=max(span.step_s, MINUTE_S))
    now_s = context.now_ns // 1_000_000_000
    first = (now_s - span.length_s) // span.step_s + 1
    steps = [Slot() for _ in range(first, now_s // span.step_s + 1)]
    since_s = first * span.step_s
    kept = context.site.watch.series
    if shared:
        known_s = since_s
        _from_unwritten(context, steps, since_s, now_s + 1, span.step_s)
        await _from_books(context, steps, since_s, now_s + MINUTE_S, span.step_s)
    elif span.step_s < MINUTE_S:
        known_s = max(since_s, kept.started_s // span.step_s * span.step_s)
        await _from_memory(kept, steps, since_s, known_s, span.step_s)
    else:
        known_s, ours_s = since_s, max(since_s, kept.begins_s(now_s))
        await _from_memory(kept, steps, since_s, ours_s, span.step_s)
        # The minute of the start is partly an earlier process's: ours is added as long as it is not in the books.
        _from_unwritten(context, steps, since_s, min(ours_s, kept.started_s + 1), span.step_s)
        await _from_books(context, steps, since_s, ours_s, span.step_s)
    return {
        "step_s": span.step_s,
        "t": [since_s + number * span.step_s for number in range(len(steps))],
        "series": _lines(steps, [since_s + (number + 1) * span.step_s > known_s for number in range(len(steps))]),
    }


async def _from_memory(kept: Series, steps: list[Slot], since_s: int, seen_s: int, step_s: int) -> None:
    """Fill in what this process has seen from ``seen_s`` on."""
    now_s = since_s + len(steps) * step_s
    for begin in range(seen_s, now_s, _BREATH_S):
        at, until = begin, min(begin + _BREATH_S, now_s)
        while at < until:
            number = (at - since_s) // step_s
            end = min(since_s + (number + 1) * step_s, until)
            steps[number].merge(kept.between(at, end))
            at = end
        await asyncio.sleep(0)  # streams go first


def _from_unwritten(context: Context, steps: list[Slot], since_s: int, until_s: int, step_s: int) -> None:
    """Add our minutes before ``until_s`` that are not in the books."""
    for at, slot in context.site.watch.minutes(context.now_ns // 1_000_000_000, whole=False).items():
        if since_s <= at * MINUTE_S < until_s:
            steps[(at * MINUTE_S - since_s) // step_s].merge(slot)


async def _from_books(context: Context, steps: list[Slot], since_s: int, until_s: int, step_s: int) -> None:
    """Add the minutes before ``until_s``, half a day at a time: neither commits nor streams wait for all of it."""
    ledger = context.site.ledger
    minute, last = since_s // MINUTE_S, until_s // MINUTE_S
    while minute < last:
        rows = await ledger.ask(lambda raw, minute=minute: rollups.read(raw, minute, last))  # type: ignore[misc]
        for at, slot in rows:
            steps[(at * MINUTE_S - since_s) // step_s].merge(slot)
        if len(rows) < rollups.PAGE:
            return
        minute = rows[-1][0] + 1
        await asyncio.sleep(0)


def _lines(steps: list[Slot], known: list[bool]) -> dict[str, list[Any]]:
    """Each line's values; null where nothing is known, and a time where nothing was measured."""
    pairs = list(zip(steps, known, strict=True))
    return {
        **{
            name: [getattr(slot, name) if there else None for slot, there in pairs]
            for name in ("requests", "errors", "input_tokens", "output_tokens", "active")
        },
        "cost_usd": [nano_to_usd(slot.cost) if there else None for slot, there in pairs],
        "ttft_p50_ms": [histogram.quantile(slot.ttft, 0.5) for slot in steps],
        "ttft_p95_ms": [histogram.quantile(slot.ttft, 0.95) for slot in steps],
        "gap_p99_ms": [histogram.quantile(slot.gap, 0.99) for slot in steps],
    }


ROUTES = (Route("GET", "/series", "admin", series, "Traffic over time", query=Wanted, answer=server.SeriesAnswer),)
