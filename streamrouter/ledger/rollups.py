"""A minute of traffic in one row: what charts of days and weeks are drawn from (docs/admin-api.md "Series").

A row is written when its minute is over, and added to if it is there already (a restart within a minute). Histograms
are JSON objects of their buckets (ops/histogram.py). Rows are no part of the books: nothing is charged by them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import orjson

from streamrouter.ledger.book import Moment
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ops.series import MINUTE_S, Slot

KEPT_DAYS = 90
PAGE = 720  # minutes that one read brings: half a day, about 1 ms

_COLUMNS = "requests, errors, input_tokens, output_tokens, cost, active, ttft, gap"
_ONE = f"SELECT {_COLUMNS} FROM rollup_minute WHERE minute = ?"  # noqa: S608 - names of our own
_SOME = (
    f"SELECT minute, {_COLUMNS} FROM rollup_minute"  # noqa: S608 - names of our own
    " WHERE minute >= ? AND minute < ? ORDER BY minute LIMIT ?"
)
_WRITE = f"INSERT OR REPLACE INTO rollup_minute (minute, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_FORGET = "DELETE FROM rollup_minute WHERE minute IN (SELECT minute FROM rollup_minute WHERE minute < ? LIMIT 200)"


def write(book: SqliteBook, at: Moment, minutes: Mapping[int, Slot]) -> None:
    """Add minutes (Unix seconds by 60), and forget some of those that are too old."""
    for minute, slot in minutes.items():
        row = book.connection.execute(_ONE, (minute,)).fetchone()
        whole = Slot() if row is None else _slot(row)
        whole.merge(slot)
        book.connection.execute(_WRITE, (minute, *_row(whole)))
    oldest = at.now_ns // 1_000_000_000 // MINUTE_S - KEPT_DAYS * 24 * 60
    book.connection.execute(_FORGET, (oldest,))


def read(connection: sqlite3.Connection, since: int, until: int) -> list[tuple[int, Slot]]:
    """The minutes from ``since`` up to before ``until``, oldest first, ``PAGE`` at most; minutes without traffic have
    no row."""
    return [(row[0], _slot(row[1:])) for row in connection.execute(_SOME, (since, until, PAGE))]


def _row(slot: Slot) -> tuple[object, ...]:
    numbers = (slot.requests, slot.errors, slot.input_tokens, slot.output_tokens, slot.cost, slot.active)
    return (*numbers, _text(slot.ttft), _text(slot.gap))


def _text(histogram: Mapping[int, int]) -> str:
    return orjson.dumps(histogram, option=orjson.OPT_NON_STR_KEYS).decode()


def _slot(row: tuple[int, int, int, int, int, int, str, str]) -> Slot:
    return Slot(*row[:6], _counts(row[6]), _counts(row[7]))


def _counts(text: str) -> dict[int, int]:
    return {int(bucket): count for bucket, count in orjson.loads(text).items()}
