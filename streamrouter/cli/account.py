"""``streamrouter topup``, ``refund``, ``adjust`` and ``balance``: money."""

from __future__ import annotations

import click

from streamrouter.cli.options import Options, common, given
from streamrouter.cli.output import write_json, write_table
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
