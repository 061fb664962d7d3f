"""``streamrouter export``: everything in the books that is no secret, as files that other programs read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from streamrouter.cli.ledger import pages
from streamrouter.cli.options import Options, Refused, common
from streamrouter.cli.output import progress, write_csv, write_json
from streamrouter.cli.reach import session

TABLES = ("requests", "entries", "usage")


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--csv", "as_csv", is_flag=True, help="CSV with heading lines (default: one JSON object a line).")
@common
def export(options: Options, directory: Path, as_csv: bool) -> None:
    """Write users, keys, closed requests, entries of money and usage by day into DIRECTORY, a file each.

    The directory is made, or must be empty. Secrets are not in it: the ledger does not have them.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Refused("exists", f"{directory} is not empty; name another", as_json=options.as_json)
    with session(options) as ask:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = ask("user.list", {})
        tables: list[tuple[str, Iterable[dict[str, Any]]]] = [
            ("users", users),
            ("keys", (key for user in users for key in ask("key.list", {"user": user["user"]}))),
            *((table, pages(ask, table)) for table in TABLES),
        ]
        ending = "csv" if as_csv else "jsonl"
        written = {name: _write(directory / f"{name}.{ending}", progress(rows, name), as_csv) for name, rows in tables}
    if options.as_json:
        write_json({"directory": str(directory), "rows": written})
    else:
        click.echo(f"{directory}: " + ", ".join(f"{count:,} {name}" for name, count in written.items()))


def _write(path: Path, rows: Iterable[dict[str, Any]], as_csv: bool) -> int:
    """How many rows the file has."""
    count = 0

    def counting() -> Iterable[dict[str, Any]]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        if as_csv:
            write_csv(counting(), file)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in counting())
    return count
