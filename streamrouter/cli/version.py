"""``streamrouter version``: what a report of a fault should say about the installation."""

from __future__ import annotations

import platform
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from streamrouter.cli.options import Options, common
from streamrouter.cli.output import write_json

_PACKAGES = (
    "aiohttp",
    "aiosqlite",
    "click",
    "hypercorn",
    "msgspec",
    "orjson",
    "prometheus-client",
    "psycopg",
    "rich",
    "sse-starlette",
    "starlette",
    "tiktoken",
    "uvloop",
)


@click.command()
@common
def version(options: Options) -> None:
    """Say which version this is; with --json also of Python, SQLite, the system and the packages in use."""
    found = {"version": _version("streamrouter") or "not installed", "python": platform.python_version()}
    if not options.as_json:
        click.echo(f"streamrouter {found['version']} (Python {found['python']})")
        return
    write_json(
        {
            **found,
            "implementation": platform.python_implementation(),
            "sqlite": sqlite3.sqlite_version,
            "platform": platform.platform(),
            "one_file": bool(getattr(sys, "frozen", False)),
            "packages": {name: _version(name) for name in _PACKAGES},
        }
    )


def _version(package: str) -> str | None:
    """None: it is not installed, or only its modules are here (a single file, a source tree)."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None
