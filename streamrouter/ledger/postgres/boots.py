"""Who is alive: every process on a ledger has a number (its boot), a row with its pulse, and a lock on the number.

The lock is the connection's: as long as the server has the connection, nobody takes its process for dead, however
slow it is. A process whose lock is free and whose pulse has stopped is dead, or has lost its connection for too long:
what it left open is closed as ``recovered``, by anybody, and its number is never used again (docs/ledger.md).
"""

from __future__ import annotations

from collections.abc import Collection

from streamrouter.ledger import rules
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres import statements
from streamrouter.ledger.postgres.book import SharedBook, named
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.schema import BOOTS, LOCKS, RECOVERY

PULSE_S = 2.0
DEAD_S = 10.0

_NEXT = "UPDATE meta SET value = value + 1 WHERE name = 'boot' RETURNING value"
_ENTER = f"""INSERT INTO process (boot, pulse_ns, began_ns, host, pid, version)
    SELECT ?, now, now, ?, ?, ? FROM (SELECT {statements.NOW_NS} AS now) AS clock"""  # noqa: S608 - words of our own
_HOLD = "SELECT pg_advisory_lock(?::int, ?::int)"
_TRY = "SELECT pg_try_advisory_lock(?::int, ?::int)"
_TRY_HERE = "SELECT pg_try_advisory_xact_lock(?::int, ?::int)"
_GIVEN = "(SELECT json_array_elements_text(?::json)::bigint)"
_KNOWN = "SELECT count(*) FROM process WHERE boot = ?"
_PULSE = f"UPDATE process SET pulse_ns = {statements.NOW_NS} WHERE boot IN {_GIVEN} RETURNING boot"  # noqa: S608
_LEAVE = f"DELETE FROM process WHERE boot IN {_GIVEN}"  # noqa: S608
# Numbers whose pulse has stopped, and those of open holds that have no row (any more).
_SILENT = f"""
    SELECT boot FROM process WHERE pulse_ns < {statements.NOW_NS} - ?
    UNION SELECT boot FROM hold WHERE state = 'open' AND boot NOT IN (SELECT boot FROM process)"""  # noqa: S608
_OF = f"state = 'open' AND boot IN {_GIVEN}"
_LOCK_ACCOUNTS = (
    f"SELECT id FROM account WHERE id IN (SELECT account_id FROM hold WHERE {_OF})"  # noqa: S608
    " ORDER BY id FOR NO KEY UPDATE"
)
_LEFT_OPEN = f"SELECT id FROM hold WHERE {_OF} ORDER BY id"  # noqa: S608


def enter(connection: PostgresConnection, host: str, pid: int, version: str) -> int:
    """A new number for this process, with its lock and its row."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (boot,) = connection.execute(_NEXT).fetchone() or (0,)
        connection.exchange([(_HOLD, (BOOTS, boot)), (_ENTER, (boot, host, pid, version)), ("COMMIT", ())])
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return int(boot)


def enter_again(connection: PostgresConnection, boot: int) -> bool:
    """Take the lock of a number that this process had before its connection was lost.

    False: somebody took us for dead, or the server has not noticed yet that the old connection is gone.
    """
    locked = connection.execute(_TRY, (BOOTS, boot)).fetchone()
    known = connection.execute(_KNOWN, (boot,)).fetchone()
    return locked == (1,) and known == (1,)


def pulse(connection: PostgresConnection, boots: Collection[int]) -> list[int]:
    """Say that we live; those of ``boots`` that nobody took for dead. It need not survive a crash of the server."""
    results = connection.exchange(
        [
            ("BEGIN IMMEDIATE", ()),
            ("SELECT set_config('synchronous_commit', 'off', true)", ()),
            (_PULSE, (named_numbers(boots),)),
            ("COMMIT", ()),
        ]
    )
    return [boot for (boot,) in results[2]]


def leave(connection: Connection, boots: Collection[int]) -> None:
    """A clean end: nobody has to wait until the pulse has stopped for long enough."""
    connection.execute(_LEAVE, (named_numbers(boots),))


def recover(connection: PostgresConnection, ours: Collection[int], now_ns: int) -> int:
    """Close what dead processes left open; how many holds. One recovers, the others have nothing to do meanwhile."""
    silent = [boot for (boot,) in connection.execute(_SILENT, (int(DEAD_S * 1e9),)) if boot not in ours]
    if not silent:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute(_TRY_HERE, (LOCKS, RECOVERY)).fetchone() != (1,):
            return 0
        dead = [boot for boot in silent if connection.execute(_TRY_HERE, (BOOTS, boot)).fetchone() == (1,)]
        again = {boot for (boot,) in connection.execute(_SILENT, (int(DEAD_S * 1e9),))}  # a pulse came meanwhile?
        closed = _close(connection, [boot for boot in dead if boot in again], now_ns)
        connection.execute("COMMIT")
        return closed
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _close(connection: PostgresConnection, dead: list[int], now_ns: int) -> int:
    if not dead:
        return 0
    numbers = named_numbers(dead)
    connection.execute(_LOCK_ACCOUNTS, (numbers,))
    left = connection.execute(_LEFT_OPEN, (numbers,)).fetchall()
    book = SharedBook(connection)
    for (hold_id,) in left:
        rules.recover(book, hold_id, now_ns)
    book.write()
    leave(connection, dead)
    return len(left)


def named_numbers(boots: Collection[int]) -> str:
    """Numbers as a value of a statement."""
    return named(str(boot) for boot in boots)
