"""Running a batch of operations against SQLite: one transaction, one book, all or nothing.

every operation lands in one COMMIT                       -> its outcome
one of them is wrong (it raises, or breaks a constraint)  -> ROLLBACK, then each alone: only the wrong one fails
the file cannot be written now (BUSY, FULL)               -> ROLLBACK, the error is the batch's
"""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol

from msgspec import Struct

from streamrouter.ledger import schema
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.records import Account, HoldRow, Key
from streamrouter.ledger.sqlite import Verdict, verdict
from streamrouter.ledger.sqlite_book import SqliteBook


class Applied(Protocol):
    """What the engine needs of an operation."""

    def apply(self, book: SqliteBook, at: Moment) -> Any:
        """Change the book, return the outcome. On the writer's thread; it may be called again after a rollback."""


class Failed(Struct, frozen=True):
    """The outcome of an operation that is wrong in itself."""

    error: Exception


class Committed(Struct):
    """A batch that is durable: an outcome for each operation, and the accounts and keys as they are now."""

    outcomes: list[Any]
    accounts: dict[str, Account]
    keys: dict[str, Key]
    ballast_held: bool = True


class Engine:
    """The writer thread's side: nothing here is touched from the event loop while a batch runs."""

    def __init__(self, ballast: Ballast) -> None:
        self._ballast = ballast
        self._open_holds: dict[str, HoldRow] = {}
        self._stored_day = 0

    def run(self, connection: sqlite3.Connection, operations: list[Any], at: Moment) -> Committed:
        """Apply and commit ``operations`` in order. sqlite3.Error: nothing was committed, nothing stays in memory."""
        try:
            committed = self._commit(connection, operations, at)
        except Exception as error:
            judged = verdict(error)  # whatever one operation raises must not stop the others
            if judged is Verdict.FULL:
                self._ballast.free()
            if judged is not Verdict.FAULT:
                raise
            committed = self._one_by_one(connection, operations, at)
        committed.ballast_held = self._ballast.restore()
        return committed

    def _commit(self, connection: sqlite3.Connection, operations: list[Applied], at: Moment) -> Committed:
        book = SqliteBook(connection, self._open_holds)
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [operation.apply(book, at) for operation in operations]
            book.write()
            if at.day != self._stored_day:
                schema.set_meta(connection, "last_day", at.day)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._stored_day = at.day
        for hold_id, row in book.touched_holds.items():
            if row.state == "open":
                self._open_holds[hold_id] = row
            else:
                self._open_holds.pop(hold_id, None)
        return Committed(outcomes, book.touched_accounts, book.touched_keys)

    def _one_by_one(self, connection: sqlite3.Connection, operations: list[Applied], at: Moment) -> Committed:
        """Nothing is raised from here: operations that are durable must get their outcomes."""
        whole = Committed([], {}, {})
        for number, operation in enumerate(operations):
            try:
                one = self._commit(connection, [operation], at)
            except Exception as error:  # noqa: BLE001 - it belongs to this one operation and is handed to it
                if verdict(error) is not Verdict.FAULT:
                    whole.outcomes += [Failed(error)] * (len(operations) - number)
                    break
                whole.outcomes.append(Failed(error))
            else:
                whole.outcomes += one.outcomes
                whole.accounts.update(one.accounts)
                whole.keys.update(one.keys)
        return whole
