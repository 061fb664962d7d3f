"""What every command shares: its common options, the types of their values, and how it fails."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import IO, Any

import click

from streamrouter.cli.conceal import conceal
from streamrouter.config import place

NO_CAP = "none"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Refused(click.ClickException):
    """An expected failure, exit code 1: ``code`` for programs, ``message`` for people; never a traceback."""

    exit_code = 1

    def __init__(self, code: str, message: str, *, as_json: bool, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self._as_json = as_json
        self._more = more

    def show(self, file: IO[Any] | None = None) -> None:
        """On stderr: ``error: …``, or with --json ``{"error": {"code", "message", …}}``."""
        error = {"error": {"code": self.code, "message": self.message, **self._more}}
        click.echo(json.dumps(error) if self._as_json else f"error: {self.message}", file=file, err=file is None)


class Unreachable(Refused):
    """The ledger could not be reached: exit code 3."""

    exit_code = 3


class Options:
    """``--config``, ``--ledger`` (None: not given) and ``--json``."""

    def __init__(self, config: str | None, ledger: str | None, as_json: bool) -> None:
        self.config = config
        self.ledger = ledger
        self.as_json = as_json

    def overrides(self) -> dict[str, Any]:
        """What goes over the file and the environment (config/load.py)."""
        return {"ledger.path": self.ledger}


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the common options; the command gets them as its first argument, an ``Options``."""

    @click.option("--config", metavar="FILE", help="Configuration file (default: ./streamrouter.toml, else built in).")
    @click.option("--ledger", metavar="PATH", help="Ledger: a file, or a Postgres URL (default: the configuration's).")
    @click.option("--json", "as_json", is_flag=True, help="Results and errors as JSON.")
    @functools.wraps(command)
    def with_options(config: str | None, ledger: str | None, as_json: bool, **arguments: Any) -> None:
        if ledger is not None and place.holds_secret(ledger):
            conceal(ledger, place.shown(ledger))
        command(Options(config, ledger, as_json), **arguments)

    return with_options


def cap_value(text: str) -> int | str:
    """An option's type: a whole number, or ``NO_CAP`` (None would be "not given")."""
    word = text.strip().lower()
    if word == NO_CAP:
        return NO_CAP
    if not (word.isascii() and word.isdigit() and len(word) <= 18):
        raise click.BadParameter(f"{text!r} is neither a whole number from 0 nor `none`")
    return int(word)


def model_ids(text: str) -> list[str] | str:
    """An option's type: ids with commas between them, each once, or ``NO_CAP`` (every model)."""
    if text.strip().lower() == NO_CAP:
        return NO_CAP
    ids = [part.strip() for part in text.split(",")]
    if not all(ids):
        raise click.BadParameter(f"{text!r} has an empty model id; `none` means every model")
    return list(dict.fromkeys(ids))


def span_s(text: str) -> int:
    """An option's type: a span of time such as 90s, 30m, 24h or 7d → seconds."""
    word = text.strip().lower()
    number, unit = word[:-1], word[-1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 8 and unit in _SECONDS):
        raise click.BadParameter(f"{text!r} is no span of time such as 90s, 30m, 24h or 7d")
    return int(number) * _SECONDS[unit]


def spelled(seconds: int) -> str:
    """A span of time in its largest whole unit: 86400 → "1 day"."""
    for unit, name in (("d", "day"), ("h", "hour"), ("m", "minute")):
        count, rest = divmod(seconds, _SECONDS[unit])
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} s"


SPAN: dict[str, Any] = {"type": span_s, "metavar": "24h"}
CAP: dict[str, Any] = {"type": cap_value, "metavar": "N|none"}
MODELS: dict[str, Any] = {"type": model_ids, "metavar": "a,b|none"}


def given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, ``none`` as the None that a verb takes."""
    return {name: None if value == NO_CAP else value for name, value in arguments.items() if value is not None}
