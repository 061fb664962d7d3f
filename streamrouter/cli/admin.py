"""``streamrouter admin``: who governs the console, and admin tokens, without a browser (a container's first start)."""

from __future__ import annotations

import sys
from typing import Any

import click

from streamrouter.cli.options import Options, Refused, common, given
from streamrouter.cli.output import write_json, write_table
from streamrouter.cli.reach import carry_out

_HEADINGS = ("name", "role", "status", "user", "created", "last seen")
_TOKENS = ("id", "name", "token", "owner", "created", "last used")


@click.group()
def admin() -> None:
    """People of the console, and admin tokens for scripts."""


@admin.command("create")
@click.argument("name")
@common
def create(options: Options, name: str) -> None:
    """Make NAME an admin. The password is asked for, or read as one line from standard input; never an argument."""
    made = carry_out(options, "admin.create", {"name": name, "password": _password(options)})
    if options.as_json:
        write_json(made)
    else:
        click.echo(f"{made['name']} is an admin: sign in at /console.")


@admin.command("list")
@common
def list_people(options: Options) -> None:
    """Everybody who may sign in at the console, or is invited to."""
    people = carry_out(options, "person.list", {})
    if options.as_json:
        write_json(people)
    elif people:
        write_table(_HEADINGS, [_person(each) for each in people])
    else:
        click.echo("Nobody yet: streamrouter admin create NAME")


@admin.command("reset")
@click.argument("name")
@common
def reset(options: Options, name: str) -> None:
    """Print a one-time link by which NAME chooses a password; the old one works until then."""
    made = carry_out(options, "person.invite", {"id": name})
    if options.as_json:
        write_json(made)
    else:
        click.echo(f"Until {made['expires']}, once, at the server's address:\n\n  {made['link']}\n")


@admin.group("token")
def token() -> None:
    """Admin tokens: what scripts send as `Authorization: Bearer`."""


@token.command("create")
@click.argument("name")
@click.option("--ref", metavar="REF", help="Your reference: the same one again makes no second token.")
@common
def create_token(options: Options, name: str, ref: str | None) -> None:
    """Make a token called NAME and show it once."""
    made = carry_out(options, "token.create", {"name": name, **given({"ref": ref})})
    if options.as_json:
        write_json(made)
    elif made["repeated"]:
        click.echo(f"Already made: {made['display']} (id {made['id']}). Its secret is not kept.")
    else:
        click.echo(
            f"{made['name']} (id {made['id']}):\n\n  {made['token']}\n\nIt will not be shown again: store it now."
        )


@token.command("list")
@common
def list_tokens(options: Options) -> None:
    """Every token; never their secrets."""
    tokens = carry_out(options, "token.list", {})
    if options.as_json:
        write_json(tokens)
    elif tokens:
        write_table(_TOKENS, [_token(each) for each in tokens])
    else:
        click.echo("No admin tokens yet: streamrouter admin token create NAME")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@common
def revoke_token(options: Options, token_id: str) -> None:
    """Refuse the token ID from now on."""
    done = carry_out(options, "token.revoke", {"id": token_id})
    if options.as_json:
        write_json(done)
    else:
        click.echo(f"{token_id} is revoked.")


def _password(options: Options) -> str:
    """From the terminal, twice and unseen; else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refused("invalid_value", "no password: give it on standard input, as one line", as_json=options.as_json)
    return line


def _person(each: dict[str, Any]) -> list[Any]:
    return [each["name"], each["role"], each["status"], each["user"], each["created"][:10], each["last_seen"]]


def _token(each: dict[str, Any]) -> list[Any]:
    return [each["id"], each["name"], each["display"], each["owner"], each["created"][:10], each["last_used"]]
