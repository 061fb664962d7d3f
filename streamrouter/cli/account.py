"""``streamrouter topup``, ``refund``, ``adjust``, ``balance`` and ``usage``: money and tokens."""

from __future__ import annotations

from typing import Any

import click

from streamrouter.cli.options import Options, common, given
from streamrouter.cli.output import cap, write_json, write_table
from streamrouter.cli.reach import carry_out

_RIGHT = ("requests", "input", "output", "cached", "cost USD", "spent USD")


@click.command()
@click.argument("name")
@click.argument("amount_usd")
@click.option("--ref", metavar="REF", help="Your reference: the same one again adds nothing.")
@common
def topup(options: Options, name: str, amount_usd: str, ref: str | None) -> None:
    """Add AMOUNT_USD (such as 25 or 12.50) to the balance of NAME.

    On a prepaid surface with a service fee, the fee goes on top of it or is taken out of it, as configured.
    """
    done = carry_out(options, "topup", {"user": name, "amount": amount_usd, **given({"ref": ref})})
    if options.as_json:
        write_json(done)
        return
    fee = f", fee {done['fee_usd']}" if done["fee_usd"] != "0.00" else ""
    once = "already done: " if done["repeated"] else ""
    click.echo(f"{done['user']}: {once}paid {done['paid_usd']} USD{fee}, credited {done['credited_usd']}.")
    click.echo(f"Balance: {done['balance_usd']} USD")


@click.command()
@click.argument("name")
@click.argument("amount_usd")
@click.option("--ref", metavar="REF", help="Your reference: the same one again takes nothing.")
@common
def refund(options: Options, name: str, amount_usd: str, ref: str | None) -> None:
    """Take AMOUNT_USD back out of the balance of NAME, never more than is neither spent nor reserved."""
    _booked(options, "refund", name, amount_usd, ref)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("amount_usd")
@click.option("--ref", metavar="REF", help="Your reference: the same one again changes nothing.")
@common
def adjust(options: Options, name: str, amount_usd: str, ref: str | None) -> None:
    """Correct the balance of NAME by AMOUNT_USD, such as 2.50 or -2.50."""
    _booked(options, "adjust", name, amount_usd, ref)


def _booked(options: Options, verb: str, name: str, amount: str, ref: str | None) -> None:
    done = carry_out(options, verb, {"user": name, "amount": amount, **given({"ref": ref})})
    if options.as_json:
        write_json(done)
        return
    once = "already done: " if done["repeated"] else ""
    click.echo(f"{done['user']}: {once}{done['kind']} of {done['amount_usd']} USD.")
    click.echo(f"Balance: {done['balance_usd']} USD")


@click.command()
@click.argument("name")
@click.option("--history", is_flag=True, help="Every payment, fee, adjustment and refund, and each day's spending.")
@common
def balance(options: Options, name: str, history: bool) -> None:
    """What NAME has paid, spent and left."""
    found = carry_out(options, "balance", {"user": name, "history": history})
    if options.as_json:
        write_json(found)
        return
    for line in found.get("history", ()):
        line["ref"] = line["ref"] or "-"
    if history:
        columns = ("day", "kind", "amount_usd", "balance_usd", "ref")
        rows = [[line[column] for column in columns] for line in found["history"]]
        write_table(("day", "kind", "USD", "balance", "ref"), rows, right=("USD", "balance"))
        click.echo("")
    note = " (unlimited: no balance is needed)" if found["unlimited"] else ""
    click.echo(f"Credited {found['credited_usd']} USD, spent {found['spent_usd']}, reserved {found['reserved_usd']}.")
    click.echo(f"Balance: {found['balance_usd']} USD, {found['free_usd']} of it free{note}")


@click.command()
@click.argument("name", required=False)
@click.option("--by", type=click.Choice(["account", "key", "model", "day"]), help="A report, summed up by that.")
@click.option("--since", metavar="Nd", default="7d", help="The days of the report, today included (default: 7d).")
@common
def usage(options: Options, name: str | None, by: str | None, since: str) -> None:
    """What NAME has used today (UTC), and what is left; with --by a report of the last days (of NAME, or of all)."""
    if by is not None:
        _report(options, by, since, name)
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


def _report(options: Options, by: str, since: str, name: str | None) -> None:
    rows: list[dict[str, Any]] = carry_out(options, "usage.report", {"by": by, "since": since, **given({"user": name})})
    if options.as_json:
        write_json(rows)
    elif rows:
        columns = (by, "requests", "input", "output", "cached", "cost_usd", "spent_usd")
        cells = [[int(row[c]) if c in columns[1:5] else row[c] for c in columns] for row in rows]
        write_table((by, "requests", "input", "output", "cached", "cost USD", "spent USD"), cells, right=_RIGHT)
    else:
        click.echo(f"No usage in the last {since}.")
