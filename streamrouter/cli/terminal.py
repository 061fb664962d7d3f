"""Tables for a terminal, by rich (which honours NO_COLOR)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

_ANY_WIDTH = 10_000


def write_table(headings: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    """A table that is never squeezed: where the terminal is too narrow its lines run on, so that ids stay whole.

    ``cells`` are text, never markup: a name like ``[red]`` shows as it is.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*[Text(cell) for cell in row])
    console = Console()
    natural = Measurement.get(console, console.options.update(width=_ANY_WIDTH), table).maximum
    Console(width=max(console.width, natural)).print(table, crop=False)


def turning(label: str) -> Status:
    """A spinner on stderr, to be entered."""
    return Console(stderr=True).status(label)


def counted(rows: Iterable[Any], label: str) -> Iterator[Any]:
    """``rows``, with their number and the time on stderr while they pass: how many there will be is not known."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        for row in rows:
            yield row
            progress.advance(task)
