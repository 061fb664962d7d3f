"""What a database's error says about the operations that met it: SQLite's by its code, Postgres' by its SQLSTATE."""

from __future__ import annotations

import sqlite3
from enum import Enum

# The WAL index could not grow: a full disk that SQLite reports as an I/O error.
_FULL_IN_DISGUISE = sqlite3.SQLITE_IOERR_SHMSIZE
_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PERM,
}
_FATAL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# SQLSTATEs, by class: what lies in the operation itself. 42501 is a right that is missing, which somebody can grant.
_FAULTS = ("22", "23", "42", "P0")
_DENIED = "42501"
_DAMAGED = ("XX001", "XX002")


class Verdict(Enum):
    """What is to be done about an error."""

    TRANSIENT = "try again later"
    FULL = "try again with more space"
    FATAL = "the process must stop"
    FAULT = "one operation is wrong"


class DatabaseError(Exception):
    """An error of Postgres, or of the connection to it. ``sqlstate`` "": the connection's, which is ``lost`` then."""

    def __init__(self, message: str, sqlstate: str = "", *, lost: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.lost = lost


# What a database raises, whichever it is: for those who ask the ledger and go on without an answer.
DATABASE_ERRORS = (sqlite3.Error, DatabaseError)


def verdict(error: BaseException) -> Verdict:
    """Judge an error of a batch; anything that is not a database's is a fault of one operation."""
    if isinstance(error, DatabaseError):
        return _of_postgres(error)
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    if code is None:
        return Verdict.FAULT
    if code == _FULL_IN_DISGUISE or code & 0xFF == sqlite3.SQLITE_FULL:
        return Verdict.FULL
    if code & 0xFF in _FATAL:
        return Verdict.FATAL
    return Verdict.TRANSIENT if code & 0xFF in _TRANSIENT else Verdict.FAULT


def _of_postgres(error: DatabaseError) -> Verdict:
    if error.sqlstate in _DAMAGED:
        return Verdict.FATAL
    if error.lost or error.sqlstate == _DENIED or not error.sqlstate.startswith(_FAULTS):
        return Verdict.TRANSIENT
    return Verdict.FAULT


def told(error: BaseException) -> tuple[str, str]:
    """What cannot be written, and why in words that anybody may see: a host's name and the like are for the log."""
    if not isinstance(error, DatabaseError):
        return "the ledger's file", str(error)
    return "the ledger's database", "it does not answer" if error.lost else f"it says {error.sqlstate}"
