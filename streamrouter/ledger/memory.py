"""The rows that requests touch, as of the last commit: a request's batch needs no SELECT, and no thread but for COMMIT.

This process alone writes the file, so what it wrote last is what the tables hold. A batch of reserves, extensions and
settlements runs the same rules on copies of these rows (``MemoryBook``); its statements then only write, to pages that
are in SQLite's cache, which takes microseconds. Python's ``sqlite3`` gives up the interpreter's lock several times a
statement, and on a thread of its own each time means to wait for it: that cost 170 of a request's 1,130 us (measured).

Everything else (a row that is not here, an Idempotency-Key, an act of administration) goes the long way, which is
``SqliteBook``.
"""

from __future__ import annotations

import sqlite3
from operator import attrgetter
from typing import Any, NoReturn

from streamrouter.ledger.records import Account, Attempt, HoldRow, Key, UsageDay, UsageModel
from streamrouter.ledger.sqlite_book import INSERT_HOLD, UPDATE_HOLD, SqliteBook, closing_values, opening_values

MOST_ROWS = 20_000  # of each table; beyond that all are forgotten: at most some 10 MB

# What the rules change of a row; the rest of it is administration's.
_ACCOUNT = attrgetter("rate_tat_ns", "spent", "reserved", "id")
_KEY = attrgetter("in_flight", "id")
_DAY = attrgetter(
    "posted_input", "posted_output", "reserved_input", "reserved_output", "requests", "account_id", "day"
)  # fmt: skip
_MODEL_COUNTS = (
    "requests", "input", "output", "cached", "reasoning", "cost", "spent", "over_input", "over_output",
)  # fmt: skip
_MODEL = attrgetter(*_MODEL_COUNTS, "account_id", "day", "key_id", "model")
_WRITE_ACCOUNT = "UPDATE account SET rate_tat_ns = ?, spent = ?, reserved = ? WHERE id = ?"
_WRITE_KEY = "UPDATE api_key SET in_flight = ? WHERE id = ?"
_WRITE_DAY = (
    "UPDATE usage_day SET posted_input = ?, posted_output = ?, reserved_input = ?, reserved_output = ?, requests = ?"
    " WHERE account_id = ? AND day = ?"
)
_WRITE_MODEL = (
    f"UPDATE usage_model SET {' = ?, '.join(_MODEL_COUNTS)} = ?"  # noqa: S608 - names of our own
    " WHERE account_id = ? AND day = ? AND key_id = ? AND model = ?"
)

DayIndex = tuple[str, int]
ModelIndex = tuple[str, int, str, str]


class NotInMemory(Exception):
    """The batch needs what only the file has: it goes the long way. Nothing was written."""


class Memory:
    """The rows by their keys. They are never changed: a book changes copies, which replace them once durable."""

    def __init__(self) -> None:
        self.holds: dict[str, HoldRow] = {}  # the open ones, all of them
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        self.days: dict[DayIndex, UsageDay] = {}
        self.models: dict[ModelIndex, UsageModel] = {}

    def forget(self) -> None:
        """Something else than the rules may have changed the tables (never the open holds)."""
        for rows in (self.accounts, self.keys, self.days, self.models):
            rows.clear()

    def learn(self, book: SqliteBook | MemoryBook) -> None:
        """``book`` was committed."""
        for hold_id, row in book.touched_holds.items():
            if row.state == "open":
                self.holds[hold_id] = row
            else:
                self.holds.pop(hold_id, None)
        self.accounts.update(book.touched_accounts)
        self.keys.update(book.touched_keys)
        _learn_used(self.days, book.touched_days)
        _learn_used(self.models, book.touched_models)
        if max(len(self.accounts), len(self.keys), len(self.days), len(self.models)) > MOST_ROWS:
            self.forget()


class MemoryBook:
    """A ``Book`` for one batch over copies of the rows in memory. What it has not is ``NotInMemory``."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.touched_holds: dict[str, HoldRow] = {}
        self.touched_accounts: dict[str, Account] = {}
        self.touched_keys: dict[str, Key] = {}
        self.touched_days: dict[DayIndex, UsageDay] = {}
        self.touched_models: dict[ModelIndex, UsageModel] = {}
        self._new_holds: dict[str, HoldRow] = {}

    def account(self, account_id: str) -> Account:
        """The account by id."""
        found = self.touched_accounts.get(account_id)
        if found is None:
            found = self.touched_accounts[account_id] = _copied(self._memory.accounts.get(account_id))
        return found

    def key(self, key_id: str) -> Key:
        """The API key by id."""
        found = self.touched_keys.get(key_id)
        if found is None:
            found = self.touched_keys[key_id] = _copied(self._memory.keys.get(key_id))
        return found

    def usage_day(self, account_id: str, day: int) -> UsageDay:
        """The account's day."""
        index = (account_id, day)
        found = self.touched_days.get(index)
        if found is None:
            found = self.touched_days[index] = _copied(self._memory.days.get(index))
        return found

    def usage_model(self, account_id: str, day: int, key_id: str, model: str) -> UsageModel:
        """The day's row of one key and model."""
        index = (account_id, day, key_id, model)
        found = self.touched_models.get(index)
        if found is None:
            found = self.touched_models[index] = _copied(self._memory.models.get(index))
        return found

    def hold(self, hold_id: str) -> HoldRow:
        """The hold by id, if it is open."""
        found = self.touched_holds.get(hold_id)
        if found is None:
            found = self.touched_holds[hold_id] = _copied(self._memory.holds.get(hold_id))
        return found

    def add_hold(self, row: HoldRow) -> None:
        """A new hold, as a reserve makes it: open, nothing charged."""
        self._new_holds[row.id] = self.touched_holds[row.id] = row

    def attempts(self, key_id: str, name: str) -> NoReturn:
        """Idempotency-Keys are not in memory."""
        raise NotInMemory

    def add_attempt(self, attempt: Attempt) -> NoReturn:
        """Idempotency-Keys are not in memory."""
        raise NotInMemory

    def keep_reply(self, hold_id: str, reply: bytes) -> NoReturn:
        """Replies are not in memory."""
        raise NotInMemory

    def write(self, connection: sqlite3.Connection) -> None:
        """Bring the tables up to date with the rows that have changed. sqlite3.Error if the file refuses."""
        memory = self._memory
        _update(connection, _WRITE_ACCOUNT, _ACCOUNT, self.touched_accounts, memory.accounts)
        _update(connection, _WRITE_KEY, _KEY, self.touched_keys, memory.keys)
        _update(connection, _WRITE_DAY, _DAY, self.touched_days, memory.days)
        _update(connection, _WRITE_MODEL, _MODEL, self.touched_models, memory.models)
        new = self._new_holds
        if new:
            connection.executemany(INSERT_HOLD, [opening_values(row) for row in new.values()])
        changed = [
            closing_values(row)
            for hold_id, row in self.touched_holds.items()
            if (row.state != "open" or row.leases if hold_id in new else row != memory.holds[hold_id])
        ]
        if changed and connection.executemany(UPDATE_HOLD, changed).rowcount != len(changed):
            raise sqlite3.IntegrityError("a hold was closed behind the book's back")


def _learn_used(rows: dict[Any, Any], touched: dict[Any, Any]) -> None:
    """A row that a book made and did not use was not written either: the tables do not have it."""
    for index, row in touched.items():
        if row.requests:
            rows[index] = row
        else:
            rows.pop(index, None)


def _copied(row: Any) -> Any:
    if row is None:
        raise NotInMemory
    return row.__copy__()  # what copy.copy() comes to, after a microsecond


def _update(connection: sqlite3.Connection, statement: str, values: Any, rows: dict[Any, Any], before: Any) -> None:
    changed = [values(row) for index, row in rows.items() if row != before[index]]
    if changed and connection.executemany(statement, changed).rowcount != len(changed):
        raise sqlite3.IntegrityError("a row has gone behind the book's back")
