"""What a load came to: the figures as a document, as lines for people, and beside an earlier run's."""

from __future__ import annotations

import msgspec

from streamrouter.bench.load import Outcome, Plan
from streamrouter.bench.stats import Spread, spread_ms

SCHEMA = 1
_SPREADS = ("first_ms", "gap_ms", "total_ms")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Rates: per second of wall time; latencies: milliseconds; ``tokens``: as the server's usage has it."""

    schema: int = SCHEMA
    url: str
    model: str
    stream: bool
    plan: Plan
    wall_s: float
    requests: int
    failed: int
    errors: dict[str, int]
    events: int
    tokens: int
    requests_per_s: float
    events_per_s: float
    tokens_per_s: float
    first_ms: Spread
    gap_ms: Spread
    total_ms: Spread
    client_cpu_s: float


def report_of(outcome: Outcome, plan: Plan, *, url: str, model: str, stream: bool) -> Report:
    """The figures of a finished run."""
    tally, wall = outcome.tally, max(outcome.wall_s, 1e-9)
    return Report(
        url=url,
        model=model,
        stream=stream,
        plan=plan,
        wall_s=round(outcome.wall_s, 3),
        requests=tally.requests,
        failed=tally.errors.total(),
        errors=dict(sorted(tally.errors.items())),
        events=tally.events,
        tokens=tally.tokens,
        requests_per_s=round(tally.requests / wall, 1),
        events_per_s=round(tally.events / wall, 1),
        tokens_per_s=round(tally.tokens / wall, 1),
        first_ms=spread_ms(tally.first_s),
        gap_ms=spread_ms(tally.gaps_s),
        total_ms=spread_ms(tally.total_s),
        client_cpu_s=round(outcome.client_cpu_s, 3),
    )


def read_report(data: bytes) -> Report:
    """A saved run. Raises ValueError if it is none, or of another schema."""
    try:
        report = msgspec.json.decode(data, type=Report)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a saved run: {error}") from None
    if report.schema != SCHEMA:
        raise ValueError(f"a saved run of schema {report.schema}, not {SCHEMA}")
    return report


def lines(report: Report) -> list[str]:
    """For people."""
    first = "first event" if report.stream else "answer"
    shown = [
        f"{report.requests:,} requests in {report.wall_s:,.1f} s, {report.failed:,} failed",
        f"{report.requests_per_s:,.0f} requests/s, {report.events_per_s:,.0f} events/s, "
        f"{report.tokens_per_s:,.0f} tokens/s",
        f"{'ms':<12}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}",
    ]
    for name, spread in ((first, report.first_ms), ("gap", report.gap_ms), ("total", report.total_ms)):
        if spread.count:
            shown.append(f"{name:<12}{spread.p50:>10,.2f}{spread.p90:>10,.2f}{spread.p99:>10,.2f}{spread.max:>10,.2f}")
    shown += [f"error: {kind}: {times:,}" for kind, times in report.errors.items()]
    return shown


def compared(now: Report, before: Report) -> list[str]:
    """For people: each figure beside the earlier one and their ratio."""
    shown = [f"{'':<18}{'before':>12}{'now':>12}{'ratio':>9}"]
    pairs: list[tuple[str, float, float]] = [
        (name.replace("_per_s", "/s"), getattr(before, name), getattr(now, name))
        for name in ("requests_per_s", "events_per_s", "tokens_per_s", "failed")
    ]
    for name in _SPREADS:
        one, two = getattr(before, name), getattr(now, name)
        if one.count and two.count:
            title = name.removesuffix("_ms")
            pairs += [(f"{title} {part} ms", getattr(one, part), getattr(two, part)) for part in ("p50", "p99")]
    for title, old, new in pairs:
        ratio = f"{new / old:>9.2f}" if old else f"{'-':>9}"
        shown.append(f"{title:<18}{old:>12,.2f}{new:>12,.2f}{ratio}")
    return shown
