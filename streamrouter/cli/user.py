"""``streamrouter user``: accounts and their caps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from streamrouter.cli.lazy import SuggestingGroup
from streamrouter.cli.options import CAP, MODELS, Options, common, given
from streamrouter.cli.output import cap, write_json, write_table
from streamrouter.cli.reach import carry_out

_CAPS = (
    ("--input-per-request", "Most prompt tokens of one request."),
    ("--output-per-request", "Most completion tokens of one request."),
    ("--daily-input", "Most prompt tokens of a UTC day."),
    ("--daily-output", "Most completion tokens of a UTC day."),
    ("--requests-per-minute", "Most requests a minute."),
)
_HEADINGS = ("user", "status", "in/req", "out/req", "in/day", "out/day", "req/min", "balance", "models")
_NUMBERS = _HEADINGS[2:8]


def caps(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that set caps."""
    command = click.option("--unlimited/--no-unlimited", default=None, help="No balance is needed.")(command)
    command = click.option("--models", help="The only models allowed.", **MODELS)(command)
    for name, line in reversed(_CAPS):
        command = click.option(name, help=line, **CAP)(command)
    return command


@click.group(cls=SuggestingGroup)
def user() -> None:
    """Accounts (a person or a team) and their caps."""


@user.command("create")
@click.argument("name")
@caps
@common
def create(options: Options, name: str, **chosen: Any) -> None:
    """Make the account NAME. Caps that are left out are those of the configuration's [defaults]."""
    _show(options, carry_out(options, "user.create", {"user": name, **given(chosen)}))


@user.command("list")
@common
def list_users(options: Options) -> None:
    """Every account with its caps and balance."""
    users = carry_out(options, "user.list", {})
    if options.as_json:
        write_json(users)
    elif users:
        write_table(_HEADINGS, [_row(each) for each in users], right=_NUMBERS)
    else:
        click.echo("No users yet: streamrouter user create NAME")


@user.command("set")
@click.argument("name")
@caps
@common
def set_caps(options: Options, name: str, **chosen: Any) -> None:
    """Change caps of NAME; those that are left out stay as they are."""
    _show(options, carry_out(options, "user.set", {"user": name, **given(chosen)}))


@user.command("disable")
@click.argument("name")
@common
def disable(options: Options, name: str) -> None:
    """Refuse every request of NAME until it is enabled again."""
    _show(options, carry_out(options, "user.disable", {"user": name}))


@user.command("enable")
@click.argument("name")
@common
def enable(options: Options, name: str) -> None:
    """Let NAME make requests again."""
    _show(options, carry_out(options, "user.enable", {"user": name}))


def _show(options: Options, account: dict[str, Any]) -> None:
    if options.as_json:
        write_json(account)
    else:
        write_table(_HEADINGS, [_row(account)], right=_NUMBERS)


def _row(account: dict[str, Any]) -> list[str]:
    return [
        account["user"],
        account["status"],
        *[cap(account[option.removeprefix("--").replace("-", "_")]) for option, _ in _CAPS],
        "unlimited" if account["unlimited"] else account["balance_usd"],
        "all" if account["models"] is None else ", ".join(account["models"]) or "none",
    ]
