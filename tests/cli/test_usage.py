"""``streamrouter usage``: the day, and reports as tables, bars and CSV. (The figures: tests/ledger/test_reports.py.)"""

from __future__ import annotations

from typing import Any

from streamrouter.cli.usage import chart
from tests.cli.conftest import Command


def row(day: str, cost: str, tokens: int) -> dict[str, Any]:
    return {"day": day, "cost_usd": cost, "input": tokens, "output": str(tokens)}


def test_bars_of_what_was_spent() -> None:
    lines = chart("day", [row("2026-11-19", "2.00", 7), row("2026-11-20", "1.00", 9), row("2026-11-21", "0.00", 0)])
    assert [line.split()[0] for line in lines] == ["2026-11-19", "2026-11-20", "2026-11-21"]
    assert [line.count("█") + line.count("#") for line in lines] == [40, 20, 0]
    assert [line.rpartition("  ")[2] for line in lines] == ["2.00 USD", "1.00 USD", "0.00 USD"]
    assert len({line.index("USD") for line in lines}) == 1


def test_bars_of_tokens_where_nothing_has_a_price() -> None:
    lines = chart("day", [row("a", "0.00", 1000), row("b", "0.00", 0)])
    assert lines[0].endswith("  2,000 tokens") and lines[1].endswith("  0 tokens")


def test_a_report_without_rows(command: Command) -> None:
    command.json("user", "create", "bob")
    assert command.text("usage", "--plot") == "No usage in the last 7d.\n"
    assert command.text("usage", "bob", "--by", "model", "--csv") == ""
    assert command.json("usage", "--by", "day", "--since", "30d") == []


def test_wrong_usage(command: Command) -> None:
    command.json("user", "create", "bob")
    assert command.run("usage").exit_code == 2
    assert command.run("usage", "--plot", "--csv").exit_code == 2
    assert command.run("usage", "--plot", "--json").exit_code == 2
