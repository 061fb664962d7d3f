"""``streamrouter version``."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from streamrouter.cli.options import Options, common
from streamrouter.cli.output import write_json


@click.command()
@common
def version(options: Options) -> None:
    """Say which version of streamrouter and of Python this is."""
    found = {"version": _version(), "python": platform.python_version()}
    if options.as_json:
        write_json(found)
    else:
        click.echo(f"streamrouter {found['version']} (Python {found['python']})")


def _version() -> str:
    try:
        return installed_version("streamrouter")
    except PackageNotFoundError:  # run from a source tree
        return "not installed"
