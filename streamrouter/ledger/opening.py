"""From a file to a running ledger: tables, boot number, recovery of what a dead process left open, the books' check."""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from streamrouter.errors import LedgerError
from streamrouter.ledger import invariants, reads, rules, schema
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SqliteBook

_WHOLE_CHECK_PAGES = 16_384  # as for quick_check: 64 MiB; larger books are checked whole by `streamrouter ledger check`


class Opened(Struct, frozen=True):
    """What a start found: this process's boot number, how many holds it closed as recovered, and the directory."""

    boot: int
    last_day: int
    recovered: int
    accounts: list[Account]
    keys: list[Key]


def prepare(connection: sqlite3.Connection, now_ns: int) -> Opened:
    """Bring the file up to date and close the open holds of older boots (docs/ledger.md "Restart after kill -9").

    A second run finds nothing to do. LedgerError if the books are wrong; sqlite3.Error if the file cannot be used.
    """
    schema.prepare(connection, now_ns)
    boot = schema.meta(connection, "boot") + 1
    connection.execute("BEGIN IMMEDIATE")
    schema.set_meta(connection, "boot", boot)
    connection.execute("COMMIT")
    recovered = _recover(connection, boot, now_ns)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    wrong = invariants.check(connection, whole=pages <= _WHOLE_CHECK_PAGES)
    if wrong:
        raise LedgerError(
            "the books do not add up; keep a copy of the file and restore a backup:\n"
            + "\n".join(f"  {line}" for line in wrong)
        )
    last_day = schema.meta(connection, "last_day")
    return Opened(boot, last_day, recovered, reads.accounts(connection), reads.keys(connection))


def _recover(connection: sqlite3.Connection, boot: int, now_ns: int) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        book = SqliteBook(connection, {})
        left = connection.execute("SELECT id FROM hold WHERE state = 'open' AND boot < ?", (boot,)).fetchall()
        for (hold_id,) in left:
            rules.recover(book, hold_id, now_ns)
        book.write()
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return len(left)
