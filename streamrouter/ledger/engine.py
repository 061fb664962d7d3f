"""Running a batch of operations against SQLite: one transaction, one book, all or nothing.

every operation lands in one COMMIT                       -> its outcome
one of them is wrong (it raises, or breaks a constraint)  -> ROLLBACK, then each alone: only the wrong one fails
the file cannot be written now (BUSY, FULL)               -> ROLLBACK, the error is the batch's

Two ways lead there. The short one is for requests whose rows are all in memory: ``begin`` writes them (microseconds,
on the loop), ``finish`` commits (the disk, on the connection's thread). The long one, ``run``, is wholly the thread's.
What goes wrong on the short way begins again on the long one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from streamrouter.ledger import schema
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.memory import Memory, MemoryBook
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.verdicts import Verdict, verdict

SHORT = 128  # operations: a batch on the loop takes some 3 ms at most


class Applied(Protocol):
    """What the engine needs of an operation."""

    plain: bool  # it does nothing but what the rules do: its rows are all that it sees and changes
    changes: bool  # it may change something

    def apply(self, book: Any, at: Moment) -> Any:
        """Change the book, return the outcome. It may be called again after a rollback."""


class Failed(Struct, frozen=True):
    """The outcome of an operation that is wrong in itself."""

    error: Exception


class Committed(Struct):
    """A batch that is durable: an outcome for each operation, and the accounts and keys as they are now."""

    outcomes: list[Any]
    accounts: dict[str, Account]
    keys: dict[str, Key]
    ballast_held: bool = True


class Begun(Struct):
    """A batch that is written, but not committed."""

    operations: Sequence[Applied]
    at: Moment
    book: MemoryBook
    outcomes: list[Any]


class Engine:
    """One batch at a time: nothing here is touched from the loop while the thread has one."""

    def __init__(self, ballast: Ballast, busy_timeout_s: float = 5.0) -> None:
        self._ballast = ballast
        self._memory = Memory()
        self._stored_day = 0
        self._busy_ms = int(busy_timeout_s * 1000)
        self._patient = True  # the connection waits for a file that another program has locked

    def begin(
        self, connection: sqlite3.Connection, operations: Sequence[Applied], at: Moment, *, most: int = SHORT
    ) -> Begun | None:
        """Write a batch of requests whose rows are all in memory, and leave it open; None: it takes the long way.

        sqlite3.Error if the process must stop.
        """
        if at.day != self._stored_day or len(operations) > most:
            return None
        for operation in operations:
            if not operation.plain:
                return None
        book = MemoryBook(self._memory)
        try:
            outcomes = [operation.apply(book, at) for operation in operations]
            if self._patient:
                self._wait(connection, 0)
            connection.execute("BEGIN IMMEDIATE")
            book.write(connection)
        except Exception as error:  # not in memory, wrong, or in the way: the long way judges it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if verdict(error) is Verdict.FATAL:
                raise
            return None
        return Begun(operations, at, book, outcomes)

    def finish(self, connection: sqlite3.Connection, begun: Begun) -> Committed:
        """Commit what was begun. Errors as of ``run``."""
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._judge(error)
            return self.run(connection, begun.operations, begun.at)
        book = begun.book
        self._memory.learn(book)
        return Committed(begun.outcomes, book.touched_accounts, book.touched_keys, self._ballast.restore())

    def run(self, connection: sqlite3.Connection, operations: Sequence[Applied], at: Moment) -> Committed:
        """Apply and commit ``operations`` in order. sqlite3.Error: nothing was committed, nothing stays in memory."""
        if not self._patient:
            self._wait(connection, self._busy_ms)
        try:
            committed = self._commit(connection, operations, at)
        except Exception as error:  # noqa: BLE001 - judged: raised again, or the fault of one operation
            self._judge(error)
            committed = self._one_by_one(connection, operations, at)
        committed.ballast_held = self._ballast.restore()
        return committed

    def _judge(self, error: Exception) -> None:
        """Raise what is not the fault of one operation: whatever one raises must not stop the others."""
        judged = verdict(error)
        if judged is Verdict.FULL:
            self._ballast.free()
        if judged is not Verdict.FAULT:
            raise error

    def _wait(self, connection: sqlite3.Connection, milliseconds: int) -> None:
        """How long the connection waits for a lock of another program: not at all on the loop."""
        connection.execute(f"PRAGMA busy_timeout = {milliseconds}").fetchall()
        self._patient = milliseconds > 0

    def _commit(self, connection: sqlite3.Connection, operations: Sequence[Applied], at: Moment) -> Committed:
        book = SqliteBook(connection, self._memory.holds)
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
        self._memory.learn(book)
        if any(operation.changes and not operation.plain for operation in operations):
            self._memory.forget()
        return Committed(outcomes, book.touched_accounts, book.touched_keys)

    def _one_by_one(self, connection: sqlite3.Connection, operations: Sequence[Applied], at: Moment) -> Committed:
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
