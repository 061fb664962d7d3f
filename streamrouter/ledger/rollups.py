"""A minute of one process's traffic in a row: what charts of days and weeks come from (docs/admin-api.md "Series").

A row is written when its minute is over, and added to if it is there already. Processes that serve one ledger have a
row each, and whoever reads adds them up. Histograms are JSON objects of their buckets (ops/histogram.py). Rows are no
part of the books: nothing is charged by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ops.series import MINUTE_S, Slot

KEPT_DAYS = 90
PAGE = 720  # minutes that one read brings: half a day, about 1 ms

_COLUMNS = "requests, errors, input_tokens, output_tokens, cost, active, ttft, gap"
_ONE = f"SELECT {_COLUMNS} FROM rollup_minute WHERE minute = ? AND boot = ?"  # noqa: S608 - names of our own
_SOME = (
    f"SELECT minute, {_COLUMNS} FROM rollup_minute WHERE minute IN ("  # noqa: S608 - names of our own
    "SELECT DISTINCT minute FROM rollup_minute WHERE minute >= ? AND minute < ? ORDER BY minute LIMIT ?)"
    " ORDER BY minute, boot"
)
_WRITE = (
    f"INSERT INTO rollup_minute ({_COLUMNS}, minute, boot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (minute, boot) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", "))
)
_FORGET = "DELETE FROM rollup_minute WHERE minute IN (SELECT minute FROM rollup_minute WHERE minute < ? LIMIT 200)"


def write(book: SqliteBook, at: Moment, minutes: Mapping[int, Slot]) -> None:
    """Add minutes (Unix seconds by 60), and forget some of those that are too old."""
    for minute, slot in minutes.items():
        row = book.connection.execute(_ONE, (minute, at.boot)).fetchone()
        whole = Slot() if row is None else _slot(row)
        whole.merge(slot)
        book.connection.execute(_WRITE, (*_row(whole), minute, at.boot))
    oldest = at.now_ns // 1_000_000_000 // MINUTE_S - KEPT_DAYS * 24 * 60
    book.connection.execute(_FORGET, (oldest,))


def read(connection: Connection, since: int, until: int) -> list[tuple[int, Slot]]:
    """The minutes from ``since`` up to before ``until``, oldest first, ``PAGE`` at most; minutes without traffic are
    left out. ``active`` is the sum of what each process had at most."""
    found: dict[int, Slot] = {}
    for row in connection.execute(_SOME, (since, until, PAGE)):
        slot = _slot(row[1:])
        whole = found.setdefault(row[0], slot)
        if whole is not slot:
            active = whole.active + slot.active
            whole.merge(slot)
            whole.active = active
    return list(found.items())


def _row(slot: Slot) -> tuple[object, ...]:
    numbers = (slot.requests, slot.errors, slot.input_tokens, slot.output_tokens, slot.cost, slot.active)
    return (*numbers, _text(slot.ttft), _text(slot.gap))


def _text(histogram: Mapping[int, int]) -> str:
    return orjson.dumps(histogram, option=orjson.OPT_NON_STR_KEYS).decode()


def _slot(row: tuple[int, int, int, int, int, int, str, str]) -> Slot:
    return Slot(*row[:6], _counts(row[6]), _counts(row[7]))


def _counts(text: str) -> dict[int, int]:
    return {int(bucket): count for bucket, count in orjson.loads(text).items()}
