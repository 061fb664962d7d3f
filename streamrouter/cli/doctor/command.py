"""``streamrouter doctor``: everything around the server that has gone wrong for somebody, looked at, with what to do.

Python is looked at before anything that needs the right one is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from streamrouter.cli.doctor import machine
from streamrouter.cli.doctor.finding import Finding
from streamrouter.cli.options import Options, common
from streamrouter.cli.output import working, write_json

_EXAMINATION = "streamrouter.cli.doctor.examination"
_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
    "skipped": ("-", None),
}


@click.command()
@click.option("--url", metavar="URL", help="The public address: does what stands in front of it hold streams back?")
@click.option("--offline", is_flag=True, help="Call no upstream.")
@common
@click.pass_context
def doctor(ctx: click.Context, options: Options, url: str | None, offline: bool) -> None:
    """Look for what is wrong around the server, and say what to do; exit 1 if there is a problem.

    Looks at Python, SQLite, the configuration, the ledger's place and permissions, disk space, the limit of open files,
    the port, tokenizer data and the clock, and asks every upstream for a few tokens.
    """
    found = [machine.python(tuple(sys.version_info[:3]), sys.implementation.name)]
    if found[0].state != "problem":
        with working("Looking around"):
            found += importlib.import_module(_EXAMINATION).examine(options, url, offline)
    problems = [finding for finding in found if finding.state == "problem"]
    if options.as_json:
        write_json({"ok": not problems, "findings": [asdict(finding) for finding in found]})
    else:
        _show(found)
    ctx.exit(1 if problems else 0)


def _show(found: list[Finding]) -> None:
    width = max(len(finding.check) for finding in found)
    for finding in found:
        mark, colour = _MARKS[finding.state]
        click.echo(f"{click.style(mark.ljust(8), **_style(colour))} {finding.check.ljust(width)}  {finding.found}")
        if finding.remedy:
            click.echo(f"{' ' * (width + 11)}→ {finding.remedy}")
    counts = Counter(finding.state for finding in found)
    click.echo(f"\n{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} well.")


def _style(colour: str | None) -> dict[str, Any]:
    """NO_COLOR is honoured here; that a pipe gets no colour, by click."""
    plain = colour is None or bool(os.environ.get("NO_COLOR"))
    return {} if plain else {"fg": colour}
