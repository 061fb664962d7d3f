"""The one connection to the ledger's file: opening it safely, and one hop per batch.

One process, one connection: nothing else in this process may ever open the file (POSIX locks belong to the process, and
closing any descriptor drops them), and nothing else writes or checkpoints it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import aiosqlite

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError
from streamrouter.ledger.lock import Holder

T = TypeVar("T")
Factory = Callable[..., sqlite3.Connection]

_QUICK_CHECK_BYTES = 64 << 20  # a start stays fast: larger files are checked whole by `streamrouter ledger check`
_JOURNAL_BYTES = 64 << 20
_CHECKPOINT_PAGES = 2000
_CACHE_KIB = 2 << 10  # a request touches the newest pages only: more would just be memory that fills up


class Connection(aiosqlite.Connection):
    """aiosqlite's thread and queue, with whole functions as the unit of work: one hop per batch, not per statement."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # A process that must stop at once cannot wait for a thread that is stuck in a commit.
        self._thread.daemon = True
        self._asked = self._done = 0  # jobs given to the thread (counted on the loop) and done (counted by the thread)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``function`` with the raw connection on its own thread; its result or exception is ours."""
        self._asked += 1
        result: T = await self._execute(self._job, function)  # type: ignore[no-untyped-call]
        return result

    def _job(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return function(self._conn)
        finally:
            self._done += 1

    @property
    def idle(self) -> sqlite3.Connection | None:
        """The raw connection if its thread has nothing to do: until the next ``run`` the loop may use it."""
        return self._conn if self._asked == self._done else None


async def connect(path: str, config: LedgerConfig, before: Holder | None, factory: Factory) -> Connection:
    """Open the file (made with mode 0600 if there is none) and check that it is sound.

    ``before`` is what the last run left in the lock file. LedgerError says what to do.
    """
    _refuse_lost_data(path, before)
    try:
        if not os.path.exists(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror}; the directory of the ledger must be writable") from error

    def connector() -> sqlite3.Connection:
        return factory(
            path, timeout=config.busy_timeout_s, isolation_level=None, cached_statements=256, check_same_thread=False
        )

    try:
        connection = Connection(connector)
        await connection
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        await connection.run(lambda raw: _configure(raw, path, config))
    except sqlite3.Error as error:
        await connection.close()
        raise unusable(path, error) from error
    except LedgerError:
        await connection.close()
        raise
    return connection


def unusable(path: str, error: sqlite3.Error) -> LedgerError:
    """An SQLite error while opening, as what an operator can do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        advice = "it is damaged; keep a copy, then restore a backup or run `sqlite3 FILE .recover` into a new file"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        advice = "the file and its directory must be writable for the user that runs streamrouter"
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        advice = "another program holds it; close that program's transaction and start again"
    elif code == sqlite3.SQLITE_FULL:
        advice = "the disk is full; free some space and start again"
    else:
        advice = "check the disk"
    return LedgerError(f"{path}: {error}; {advice}")


def _refuse_lost_data(path: str, before: Holder | None) -> None:
    """SQLite takes an empty file for a new database and deletes the WAL beside it: a ledger would be lost silently."""
    size = os.path.getsize(path) if os.path.exists(path) else None
    wal = path + "-wal"
    if not size and os.path.exists(wal) and os.path.getsize(wal):
        raise LedgerError(f"{path} is missing or empty, but {wal} is not; restore both from one backup, or remove both")
    if size == 0 and before is not None and before.boot:
        raise LedgerError(f"{path} was a ledger and is empty now; restore a backup, or remove the file to start anew")


def _configure(raw: sqlite3.Connection, path: str, config: LedgerConfig) -> None:
    (mode,) = raw.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerError(f"{path}: the file system does not allow SQLite's WAL mode; use a local disk")
    raw.execute(f"PRAGMA synchronous = {config.durability.upper()}")
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA trusted_schema = OFF")
    raw.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    raw.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    if os.path.getsize(path) <= _QUICK_CHECK_BYTES:
        (found,) = raw.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise LedgerError(
                f"{path}: {found}; it is damaged: keep a copy, then restore a backup or run `sqlite3 FILE .recover` "
                "into a new file"
            )
