"""``streamrouter topup`` and ``streamrouter usage``: one account's money and tokens."""

from __future__ import annotations

import click

from streamrouter.cli.options import Options, common, given
from streamrouter.cli.output import cap, write_json, write_table
from streamrouter.cli.reach import carry_out


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
@common
def usage(options: Options, name: str) -> None:
    """What NAME has used today (UTC), and what is left."""
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
