"""A copy of the ledger while it runs, by SQLite's backup API on the writer's own connection, proved by opening it.

Nothing else may open the ledger's file in this process, so the copy is made on the one connection there is, outside of
a transaction. Commits wait meanwhile (a second or two per GB). The copy has another path and may be opened freely.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from streamrouter.errors import LedgerError


def write(connection: sqlite3.Connection, path: str, *, replace: bool = False) -> None:
    """Copy to ``path`` (mode 0600), durably, whole or not at all. LedgerError says why it could not be written.

    ``replace`` False: what stands there already is left alone and is an error.
    """
    if not replace and os.path.exists(path):
        raise LedgerError(f"{path} exists already; a backup never overwrites, give another path")
    part = path + ".part"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _copy(connection, part)
        _durable(part)
        os.replace(part, path)
        _durable(os.path.dirname(path) or ".")
    except sqlite3.Error as error:
        _drop(part)
        raise LedgerError(f"{path}: the backup could not be written: {error}") from error
    except OSError as error:
        _drop(part)
        raise LedgerError(f"{path}: the backup could not be written: {error.strerror}") from error


def _copy(connection: sqlite3.Connection, path: str) -> None:
    target = sqlite3.connect(path, isolation_level=None)
    try:
        connection.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file: nothing beside it is needed
    finally:
        target.close()


def _drop(part: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(part)


def _durable(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
