"""``streamrouter key``: API keys. A secret is on stdout once, when the key is made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from streamrouter.cli.lazy import SuggestingGroup
from streamrouter.cli.options import CAP, MODELS, SPAN, Options, common, given, spelled
from streamrouter.cli.output import write_json, write_table, write_warnings
from streamrouter.cli.reach import carry_out

_HEADINGS = ("id", "key", "surface", "status", "in flight", "models", "created", "ends")


@click.group(cls=SuggestingGroup)
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


@key.command("set")
@click.argument("key_id", metavar="ID")
@click.option("--models", help="The only models that this key may use; `none` takes its own list away.", **MODELS)
@click.option("--concurrency", help="Most requests at once.", **CAP)
@common
def set_key(options: Options, key_id: str, **chosen: Any) -> None:
    """Change what the key ID may do; what is left out stays as it is."""
    changed = carry_out(options, "key.set", {"id": key_id, **given(chosen)})
    if options.as_json:
        write_json(changed)
    else:
        write_table(_HEADINGS, [_row(changed)], right=("in flight",))


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
@click.option("--grace", help="How long the old one stays good beside it, such as 24h (default: not at all).", **SPAN)
@common
def rotate(options: Options, key_id: str, grace: int | None) -> None:
    """Replace the key ID by a new one with the same rights; the old one stops working at once, or after --grace."""
    made = carry_out(options, "key.rotate", {"id": key_id, **given({"grace_s": grace})})
    _show_secret(options, made, f"The new key of {made['user']} on {made['surface']} (id {made['id']}):")
    if grace and not options.as_json:
        click.echo(f"The old one stays good for {spelled(grace)}. Until then, the two share their caps.")


def _show_secret(options: Options, made: dict[str, Any], heading: str) -> None:
    if options.as_json:
        write_json(made)
    else:
        click.echo(f"{heading}\n\n  {made['key']}\n\nIt will not be shown again: store it now.")


def _row(each: dict[str, Any]) -> list[Any]:
    in_flight = str(each["in_flight"]) if each["concurrency"] is None else f"{each['in_flight']}/{each['concurrency']}"
    models = "all" if each["models"] is None else each["models"]
    created = each["created"][:10]
    status, ends = each["status"], each["revoked"]
    if status == "active" and each["expires"] is not None:
        ends = each["expires"]
        status = "expired" if ends <= f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" else "ending"
    return [each["id"], each["display"], each["surface"], status, in_flight, models, created, ends]
