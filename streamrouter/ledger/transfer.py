"""The books of a file, copied into an empty Postgres database: every row, in one transaction, and checked there.

Nothing may be open: the file's ledger is this process's alone, which has recovered what a dead one left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamrouter.config.place import shown
from streamrouter.errors import LedgerError
from streamrouter.ledger import driver, invariants
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.schema import meta, set_meta
from streamrouter.ledger.verdicts import DatabaseError

# What is referred to goes before what refers to it; each with what it is read in the order of.
TABLES = {
    "account": "id",
    "api_key": "id",
    "usage_day": "account_id, day",
    "usage_model": "account_id, day",
    "usage_archive": "account_id, day",
    "hold": "id",
    "idempotency": "hold_id",
    "entry": "rowid",  # balances are told in the order of the entries
    "person": "id",
    "invitation": "hash",
    "session": "hash",
    "admin_token": "hash",
    "audit": "number",
    "rollup_minute": "minute",
}
_AT_ONCE = 1000
_NEXT_LINE = "SELECT setval(pg_get_serial_sequence('audit', 'number'), max(number)) FROM audit"


def copy(source: Connection, url: str, now_ns: int) -> dict[str, int]:
    """Copy all of it; how many rows each table has. LedgerError: nothing was copied, and it says why."""
    try:
        target = driver.postgres("connection").connect(url)
        try:
            driver.postgres("schema").prepare(target, now_ns)
            return _within(source, target)
        finally:
            target.close()  # what is not committed is gone with it
    except (DatabaseError, LedgerError) as error:
        raise LedgerError(f"nothing was copied to {shown(url)}: {error}") from error


def _within(source: Connection, target: Connection) -> dict[str, int]:
    target.execute("BEGIN")
    taken = [table for table in TABLES if _count(target, table)]
    if taken:
        raise LedgerError("the database has a ledger that is in use; give the address of an empty one")
    for table, order in TABLES.items():
        for sql, rows in _pages(source, table, order):
            target.executemany(sql, rows)
    target.execute(_NEXT_LINE)
    for name in ("boot", "last_day"):
        set_meta(target, name, meta(source, name))
    counted = {table: _count(target, table) for table in TABLES}
    wrong = invariants.check(target, whole=True)
    wrong += [f"{table} has other rows" for table, rows in counted.items() if rows != _count(source, table)]
    if wrong:
        raise LedgerError(f"the copy is not right: {'; '.join(wrong)}")
    target.execute("COMMIT")
    return counted


def _pages(source: Connection, table: str, order: str) -> Iterator[tuple[str, list[Any]]]:
    """A statement, and rows for it."""
    cursor = source.execute(f"SELECT * FROM {table} ORDER BY {order}")  # noqa: S608 - names of our own
    names = [column[0] for column in cursor.description]
    values = ", ".join("?" * len(names))
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608 - likewise
    while rows := cursor.fetchmany(_AT_ONCE):
        yield sql, rows


def _count(connection: Connection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - likewise
    return int(count)
