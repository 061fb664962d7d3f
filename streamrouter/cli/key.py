"""``streamrouter key``: API keys. A secret is on stdout once, when the key is made."""

from __future__ import annotations

from typing import Any

import click

from streamrouter.cli.options import CAP, MODELS, Options, common, given
from streamrouter.cli.output import write_json, write_table, write_warnings
from streamrouter.cli.reach import carry_out

_HEADINGS = ("id", "key", "surface", "status", "in flight", "models", "created")


@click.group()
def key() -> None:
    """API keys of a user."""


@key.command("create")
@click.argument("name")
@click.option("--models", help="The only models that this key may use (narrows the user's).", **MODELS)
@click.option("--concurrency", help="Most requests at once (default: the surface's).", **CAP)
@click.option("--surface", metavar="S", help="The surface it is for (default: the first).")
@click.option("--ref", metavar="REF", help="Your reference: the same one again makes no second key.")
@common
def create(options: Options, name: str, **chosen: Any) -> None:
    """Make a key for the user NAME and show it once."""
    made = carry_out(options, "key.create", {"user": name, **given(chosen)})
    write_warnings(made["warnings"])
    if made["repeated"] and not options.as_json:
        click.echo(f"Already made: {made['display']} of {made['user']} (id {made['id']}). Its secret is not kept.")
        return
    _show_secret(options, made, f"A key for {made['user']} on {made['surface']} (id {made['id']}):")


@key.command("list")
@click.argument("name")
@common
def list_keys(options: Options, name: str) -> None:
    """The keys of the user NAME; never their secrets."""
    keys = carry_out(options, "key.list", {"user": name})
    if options.as_json:
        write_json(keys)
    elif keys:
        write_table(_HEADINGS, [_row(each) for each in keys], right=("in flight",))
    else:
        click.echo(f"No keys yet: streamrouter key create {name}")


@key.command("revoke")
@click.argument("key_id", metavar="ID")
@click.option("--now", is_flag=True, help="Also stop the streams that it has open.")
@common
def revoke(options: Options, key_id: str, now: bool) -> None:
    """Refuse every new request of the key ID, for good."""
    revoked = carry_out(options, "key.revoke", {"id": key_id, "now": now})
    if options.as_json:
        write_json(revoked)
        return
    stopped = f", {revoked['streams_stopped']} streams stopped" if now else ""
    click.echo(f"{revoked['display']} of {revoked['user']} is revoked{stopped}.")


@key.command("rotate")
@click.argument("key_id", metavar="ID")
@common
def rotate(options: Options, key_id: str) -> None:
    """Replace the key ID by a new one with the same rights; the old one stops working at once."""
    made = carry_out(options, "key.rotate", {"id": key_id})
    _show_secret(options, made, f"The new key of {made['user']} on {made['surface']} (id {made['id']}):")


def _show_secret(options: Options, made: dict[str, Any], heading: str) -> None:
    if options.as_json:
        write_json(made)
    else:
        click.echo(f"{heading}\n\n  {made['key']}\n\nIt will not be shown again: store it now.")


def _row(each: dict[str, Any]) -> list[Any]:
    in_flight = str(each["in_flight"]) if each["concurrency"] is None else f"{each['in_flight']}/{each['concurrency']}"
    models = "all" if each["models"] is None else each["models"]
    created = each["created"][:10]
    return [each["id"], each["display"], each["surface"], each["status"], in_flight, models, created]
