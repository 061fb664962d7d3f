"""``streamrouter ledger``: the books themselves. All of it works on a running server and without one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from streamrouter.admin.desk import AdminError
from streamrouter.cli.conceal import conceal
from streamrouter.cli.lazy import SuggestingGroup
from streamrouter.cli.options import Options, common
from streamrouter.cli.output import progress, working, write_csv, write_json
from streamrouter.cli.reach import Ask, alone, carry_out, expected_faults, ledger_of, place_of, session
from streamrouter.config import place
from streamrouter.ledger import transfer


@click.group(cls=SuggestingGroup)
def ledger() -> None:
    """The books: check, explain, export, backup, copy, day."""


@ledger.command("check")
@common
def check(options: Options) -> None:
    """Check every invariant over every request; exit 1 if the books do not add up."""
    with working("Every request is looked at"):
        found = carry_out(options, "ledger.check", {})
    if options.as_json:
        write_json(found)
    else:
        click.echo(f"The books add up ({found['invariants']} checks).")


@ledger.command("explain")
@click.argument("request_id")
@common
def explain(options: Options, request_id: str) -> None:
    """How the request REQUEST_ID (x-request-id) came to its charge."""
    told = carry_out(options, "ledger.explain", {"id": request_id})
    if options.as_json:
        write_json(told)
        return
    price, held, charged, over = (told[part] for part in ("price_usd_per_million", "held", "charged", "over"))
    uncached = charged["input"] - charged["cached"]
    lines = (
        ("request", f"{told['id']} of {told['user']} ({told['key']}) on {told['surface']}, {told['created']}"),
        ("model", f"{told['model']} at {told['upstream'] or 'no upstream'}"),
        ("state", f"{told['state']} ({told['end'] or 'running'}), counts on {told['day']} (UTC)"),
        ("held", f"{held['input']:,} input, {held['output']:,} output tokens, {held['usd']} USD"),
        ("leased", f"{_steps(told['lease_steps'])} output tokens were recorded ahead of their delivery"),
        ("usage", f"as told by: {told['usage_source'] or '-'}"),
        (
            "charged",
            f"{uncached:,} input at {price['input']}, {charged['cached']:,} cached at {price['cache_read']}, "
            f"{charged['output']:,} output at {price['output']} USD per million",
        ),
        (
            "rounding",
            f"{int(told['pico_usd']):,} pico-USD, up by {told['rounded_up_by_pico_usd']} to whole nano-USD",
        ),
        ("cost", f"{told['cost_usd']} USD, {told['spent_usd']} of it from the balance (billing: {told['billing']})"),
        ("over", f"{over['input']:,} input, {over['output']:,} output tokens above the hold: the operator's loss"),
    )
    for name, text in lines:
        click.echo(f"{name:<10}{text}")


@ledger.command("export")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a heading line (default: one JSON object a line).")
@click.option(
    "--table",
    type=click.Choice(["requests", "entries", "usage"]),
    default="requests",
    help="Closed requests (default), entries of money, or usage by day.",
)
@common
def export(options: Options, as_csv: bool, table: str) -> None:
    """Write a table of the books to stdout, oldest first: JSON lines, or CSV with --csv."""
    with session(options) as ask:
        rows = progress(pages(ask, table), table)
        if as_csv:
            write_csv(rows)
            return
        for row in rows:
            click.echo(json.dumps(row))


def pages(ask: Ask, table: str) -> Iterator[dict[str, Any]]:
    """Every row of a table of the books, oldest first."""
    after: str | None = ""
    while after is not None:
        page = ask("ledger.export", {"table": table, "after": after})
        yield from page["rows"]
        after = page["next"]


@ledger.command("backup")
@click.argument("path", type=click.Path(dir_okay=False))
@common
def backup(options: Options, path: str) -> None:
    """Copy the ledger to PATH while it runs, and check the copy. Never overwrites."""
    with working("The ledger is copied, and the copy checked"):
        made = carry_out(options, "ledger.backup", {"path": os.path.abspath(path)})
    if options.as_json:
        write_json(made)
    else:
        click.echo(f"{made['path']}: {made['bytes']:,} bytes, {made['requests']:,} requests; opened and checked.")


@ledger.command("copy")
@click.argument("url")
@common
def copy(options: Options, url: str) -> None:
    """Copy a file's books into the empty Postgres database URL, and check them there.

    The server must be stopped. URL may be file:NAME, a file that holds it. The file stays as it is.
    """
    if place.holds_secret(url):
        conceal(url, place.shown(url))
    with expected_faults(options):
        source, target = ledger_of(options), place_of(url)
        if place.is_database(source) or not place.is_database(target):
            raise AdminError("invalid_value", "books are copied from a file into a Postgres database")
    with working("The books are copied, and the copy checked"):
        rows = alone(options, lambda books: books.ask(partial(transfer.copy, url=target, now_ns=books.now_ns)))
    if options.as_json:
        write_json({"copied": place.shown(target), "rows": rows})
        return
    click.echo(f"{place.shown(target)}: {rows['account']:,} users, {rows['hold']:,} requests; copied and checked.")
    click.echo("Serve it with --ledger, and do not start a server on the file again: the two would drift apart.")


@ledger.command("day")
@click.option("--accept", is_flag=True, help="Take the wall clock's date as the ledger's, in either direction.")
@common
def day(options: Options, accept: bool) -> None:
    """The ledger's day (UTC), and whether it follows the clock."""
    found = carry_out(options, "ledger.day", {"accept": accept})
    if options.as_json:
        write_json(found)
        return
    click.echo(f"The ledger's day is {found['day']} (UTC).")
    if found["alarm"]:
        click.echo(f"It does not follow the clock: {found['alarm']}")


def _steps(leases: list[int]) -> str:
    return " → ".join(f"{lease:,}" for lease in leases)
