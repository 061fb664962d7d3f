"""Who is alive: every process on a ledger has a number (its boot), a row with its pulse, and a lock on the number.

The lock is the connection's: as long as the server has the connection, nobody takes its process for dead, however
slow it is. A process whose lock is free and whose pulse has stopped is dead, or has lost its connection for too long:
what it left open is closed as ``recovered``, by anybody, and its number is never used again (docs/ledger.md).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from pathlib import Path

from msgspec import Struct
from msgspec.structs import astuple

from streamrouter import __version__
from streamrouter.ledger import rules
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres import statements
from streamrouter.ledger.postgres.book import SharedBook, named
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.schema import BOOTS, LOCK, LOCKS, RECOVERY

PULSE_S = 2.0
DEAD_S = 10.0
_AGES_NS = 1 << 60  # a pulse of 0 is that of a process that has left

_NEXT = "UPDATE meta SET value = value + 1 WHERE name = 'boot' RETURNING value"
_ENTER = f"""INSERT INTO process (boot, pulse_ns, began_ns, host, home, pid, version)
    SELECT ?, now, now, ?, ?, ?, ? FROM (SELECT {statements.NOW_NS} AS now) AS clock"""  # noqa: S608 - words of our own
_SURELY = "SELECT set_config('synchronous_commit', 'on', true)"
_HOLD = f"SELECT pg_advisory_lock{LOCK}"
_TRY = f"SELECT pg_try_advisory_lock{LOCK}"
_TRY_HERE = f"SELECT pg_try_advisory_xact_lock{LOCK}"
_GIVEN = "(SELECT json_array_elements_text(?::json)::bigint)"
_KNOWN = "SELECT count(*) FROM process WHERE boot = ?"
_PULSE = f"UPDATE process SET pulse_ns = {statements.NOW_NS} WHERE boot IN {_GIVEN} RETURNING boot"  # noqa: S608
_LEAVE = f"UPDATE process SET pulse_ns = 0 WHERE boot IN {_GIVEN}"  # noqa: S608
_REMOVE = f"DELETE FROM process WHERE boot IN {_GIVEN}"  # noqa: S608
_SILENT = f"SELECT boot, home, pid, {statements.NOW_NS} - pulse_ns FROM process"  # noqa: S608
_OF = f"state = 'open' AND boot IN {_GIVEN}"
_LOCK_ACCOUNTS = (
    f"SELECT id FROM account WHERE id IN (SELECT account_id FROM hold WHERE {_OF})"  # noqa: S608
    " ORDER BY id FOR NO KEY UPDATE"
)
_LEFT_OPEN = f"SELECT id FROM hold WHERE {_OF} ORDER BY id"  # noqa: S608


class Self(Struct, frozen=True):
    """This process, as others see it. ``home``: where its pid means something; "": nobody can tell."""

    host: str
    home: str
    pid: int
    version: str


def myself() -> Self:
    """This process. Its home is this boot of this machine, and the namespace that its pid is of."""
    try:
        home = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        home = ""
    return Self(socket.gethostname(), home, os.getpid(), __version__)


def enter(connection: PostgresConnection, me: Self) -> int:
    """A new number for this process, with its lock and its row."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_SURELY)  # a number that a crash of the server took back could be given twice
        (boot,) = connection.execute(_NEXT).fetchone() or (0,)
        connection.exchange([(_HOLD, (BOOTS, boot)), (_ENTER, (boot, *astuple(me))), ("COMMIT", ())])
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


def is_free(connection: PostgresConnection, boot: int) -> bool:
    """Whether the connection that had this number is gone. If so, the number is locked by this one from now on."""
    return connection.execute(_TRY, (BOOTS, boot)).fetchone() == (1,)


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


def recover(connection: PostgresConnection, ours: Collection[int], me: Self, now_ns: int, connected_s: float) -> int:
    """Close what dead processes left open; how many holds. One recovers, the others have nothing to do meanwhile.

    ``connected_s``: for how long this process has been connected. Only after a while a silence says something: when the
    server was away, others may just not have come back yet.
    """
    silent = _silent(connection, ours, me, connected_s)
    if not silent:
        return 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute(_TRY_HERE, (LOCKS, RECOVERY)).fetchone() != (1,):
            return 0
        dead = [boot for boot in silent if connection.execute(_TRY_HERE, (BOOTS, boot)).fetchone() == (1,)]
        still = _silent(connection, ours, me, connected_s)  # a pulse may have come before the lock was ours
        closed = _close(connection, [boot for boot in dead if boot in still], now_ns)
        connection.execute("COMMIT")
        return closed
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _silent(connection: PostgresConnection, ours: Collection[int], me: Self, connected_s: float) -> list[int]:
    """Numbers of others that have left, whose process is gone from this machine, or whose pulse has stopped."""
    found = []
    for boot, home, pid, silence_ns in connection.execute(_SILENT):
        left = silence_ns > _AGES_NS
        gone = bool(home) and home == me.home and not _runs(pid)
        stopped = min(silence_ns / 1e9, connected_s) > DEAD_S
        if boot not in ours and (left or gone or stopped):
            found.append(boot)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    connection.execute(_REMOVE, (numbers,))
    return len(left)


def named_numbers(boots: Collection[int]) -> str:
    """Numbers as a value of a statement."""
    return named(str(boot) for boot in boots)
