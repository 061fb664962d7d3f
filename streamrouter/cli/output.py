"""What people see: tables on a terminal, aligned text on a pipe, one JSON line with --json."""

from __future__ import annotations

import contextlib
import csv
import importlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import click

RICH = "streamrouter.cli.terminal"  # rich takes 100 ms to import: only a terminal pays for it


def write_json(result: Any) -> None:
    """One line on stdout."""
    click.echo(json.dumps(result, ensure_ascii=False))


def write_table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table; the columns whose headings are in ``right`` are numbers and stand to the right."""
    cells = [[shown(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        importlib.import_module(RICH).write_table(headings, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in [list(headings), *cells]:
        columns = zip(row, headings, widths, strict=True)
        line = "  ".join(c.rjust(width) if heading in right else c.ljust(width) for c, heading, width in columns)
        click.echo(line.rstrip())


def write_csv(rows: Iterable[dict[str, Any]], file: IO[str] | None = None) -> None:
    """CSV with a heading line (on stdout); nothing at all where there is no row."""
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file or sys.stdout, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a quote in front; numbers are none."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t", "\r") else value


def working(label: str) -> contextlib.AbstractContextManager[Any]:
    """Something that turns on stderr while a long work is done, where that is a terminal."""
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[Any] = importlib.import_module(RICH).turning(label)
    return found


def progress(rows: Iterable[Any], label: str) -> Iterator[Any]:
    """``rows``, counted on stderr while they pass, where that is a terminal."""
    if not sys.stderr.isatty():
        yield from rows
        return
    yield from importlib.import_module(RICH).counted(rows, label)


def shown(value: Any) -> str:
    """A value in a table: thousands are set apart, what is not there is a dash."""
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def cap(value: int | str | None) -> str:
    """A cap in words; one above 2^53 comes as a string (admin/)."""
    return "none" if value is None else f"{int(value):,}"


def write_warnings(warnings: Sequence[str]) -> None:
    """On stderr, so that a result on stdout stays alone."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
