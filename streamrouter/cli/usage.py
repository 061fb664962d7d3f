"""``streamrouter usage``: what is used today and what is left, and reports as a table, a chart, CSV or JSON."""

from __future__ import annotations

import sys
from typing import Any

import click

from streamrouter.cli.options import Options, common, given
from streamrouter.cli.output import cap, write_csv, write_json, write_table
from streamrouter.cli.reach import carry_out

_COUNTS = ("requests", "input", "output", "cached")
_RIGHT = (*_COUNTS, "cost USD", "spent USD")
_CHART_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


@click.command()
@click.argument("name", required=False)
@click.option("--by", type=click.Choice(["account", "key", "model", "day"]), help="A report, summed up by that.")
@click.option("--since", metavar="Nd", default="7d", help="The days of the report, today included (default: 7d).")
@click.option("--plot", is_flag=True, help="The report as bars: cost, or tokens where nothing has a price.")
@click.option("--csv", "as_csv", is_flag=True, help="The report as CSV with a heading line.")
@common
def usage(options: Options, name: str | None, by: str | None, since: str, plot: bool, as_csv: bool) -> None:
    """What NAME has used today (UTC), and what is left; with --by a report of the last days (of NAME, or of all)."""
    if plot + as_csv + options.as_json > 1:
        raise click.UsageError("one of --plot, --csv and --json")
    if by is None and (plot or as_csv):
        by = "day"
    if by is not None:
        _report(options, by, since, name, plot, as_csv)
        return
    if name is None:
        raise click.UsageError("name a user, or ask for a report with --by")
    now = carry_out(options, "usage", {"user": name})
    if options.as_json:
        write_json(now)
        return
    click.echo(f"{now['user']} on {now['day']} (UTC), {now['in_flight']} in flight")
    rows = []
    for side in ("input", "output"):
        used, reserved, limit = (now[side][part] for part in ("used", "reserved", "cap"))
        left = "-" if limit is None else max(0, int(limit) - int(used) - int(reserved))
        rows.append([side, int(used), int(reserved), cap(limit), left])
    write_table(("tokens", "used", "reserved", "cap", "left"), rows, right=("used", "reserved", "cap", "left"))
    balance = "unlimited" if now["unlimited"] else f"{now['balance_usd']} USD"
    click.echo(f"Balance: {balance}, spent {now['spent_usd']} USD")


def _report(options: Options, by: str, since: str, name: str | None, plot: bool, as_csv: bool) -> None:
    rows: list[dict[str, Any]] = carry_out(options, "usage.report", {"by": by, "since": since, **given({"user": name})})
    if options.as_json:
        write_json(rows)
    elif as_csv:
        write_csv(rows)
    elif not rows:
        click.echo(f"No usage in the last {since}.")
    elif plot:
        for line in chart(by, rows):
            click.echo(line)
    else:
        columns = (by, *_COUNTS, "cost_usd", "spent_usd")
        cells = [[int(row[c]) if c in _COUNTS else row[c] for c in columns] for row in rows]
        write_table((by, *_COUNTS, "cost USD", "spent USD"), cells, right=_RIGHT)


def chart(by: str, rows: list[dict[str, Any]]) -> list[str]:
    """A bar for each row, the longest of full width, with its figure: USD, or tokens where nothing has a price."""
    costs = [float(row["cost_usd"]) for row in rows]
    priced = any(costs)
    values = costs if priced else [float(int(row["input"]) + int(row["output"])) for row in rows]
    figures = [
        f"{row['cost_usd']} USD" if priced else f"{int(value):,} tokens"
        for row, value in zip(rows, values, strict=True)
    ]
    labels = [str(row[by]) for row in rows]
    most, width = max(values) or 1.0, max(map(len, labels))
    return [
        f"{label.ljust(width)}  {_bar(value / most)}  {figure}"
        for label, value, figure in zip(labels, values, figures, strict=True)
    ]


def _bar(share: float) -> str:
    """``share`` of the chart's width, in eighths of a character; in whole ones where the output is not UTF-8."""
    if "utf" not in (sys.stdout.encoding or "").lower():
        return ("#" * round(share * _CHART_WIDTH)).ljust(_CHART_WIDTH)
    eighths = round(share * _CHART_WIDTH * 8)
    bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return bar.ljust(_CHART_WIDTH)
