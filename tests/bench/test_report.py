"""The figures of a run: as a document that can be read again, and as lines."""

from __future__ import annotations

import msgspec
import pytest

from streamrouter.bench.client import Tally
from streamrouter.bench.load import Outcome, Plan
from streamrouter.bench.report import Report, compared, lines, read_report, report_of


def report(events: int = 100, first_s: float = 0.01) -> Report:
    tally = Tally()
    tally.requests, tally.events, tally.tokens = 4, events, 80
    tally.errors["status 500"] = 1
    tally.first_s.extend([first_s, 2 * first_s])
    tally.gaps_s.extend([0.02] * 10)
    plan = Plan(clients=2, requests=4)
    return report_of(Outcome(tally, 2.0, 0.5), plan, url="http://x/v1", model="m", stream=True)


def test_rates_are_per_second() -> None:
    found = report()
    assert (found.requests_per_s, found.events_per_s, found.tokens_per_s) == (2.0, 50.0, 40.0)
    assert (found.failed, found.errors, found.first_ms.p50, found.gap_ms.max) == (1, {"status 500": 1}, 20.0, 20.0)


def test_it_can_be_saved_and_read() -> None:
    found = report()
    assert read_report(msgspec.json.encode(found)) == found
    with pytest.raises(ValueError, match="not a saved run"):
        read_report(b"{}")
    with pytest.raises(ValueError, match="schema 99"):
        read_report(msgspec.json.encode(msgspec.structs.replace(found, schema=99)))


def test_lines_for_people() -> None:
    shown = "\n".join(lines(report()))
    assert "4 requests in 2.0 s, 1 failed" in shown
    assert "first event" in shown
    assert "error: status 500: 1" in shown
    assert "total" not in shown  # no request had one


def test_two_runs_side_by_side() -> None:
    shown = {line[:18].strip(): line.split()[-3:] for line in compared(report(events=200), report())}
    assert shown["events/s"] == ["50.00", "100.00", "2.00"]
    assert shown["first p50 ms"] == ["20.00", "20.00", "1.00"]
