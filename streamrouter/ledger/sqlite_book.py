"""A ``Book`` over SQLite: rows are read once per batch, changed by the rules, and written back only if they changed.

Every statement is a constant, so that it stays in the connection's statement cache; rows travel as tuples. A book lives
in one transaction on the writer's thread and is thrown away with it: after a failed commit nothing stays in memory.
Open holds need no SELECT (a fifth of the cost of a request): this process alone made them, and the engine keeps them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from copy import copy
from operator import attrgetter
from typing import Any

import orjson
from msgspec.structs import astuple

from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.records import Account, Attempt, HoldRow, Key, UsageDay, UsageModel


def _columns(struct: type[Any]) -> str:
    return ", ".join(struct.__struct_fields__)


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names of our own


def _upsert(table: str, struct: type[Any], key: str) -> str:
    fields = [name for name in struct.__struct_fields__ if name not in key.split(", ")]
    sets = ", ".join(f"{name} = excluded.{name}" for name in fields)
    return _insert(table, struct.__struct_fields__) + f" ON CONFLICT ({key}) DO UPDATE SET {sets}"


CLOSING = (
    "state", "lease_output", "s_input", "s_output", "s_cached", "s_reasoning", "s_usd", "cost", "over_input",
    "over_output", "over_usd", "end_reason", "usage_source", "upstream", "ttft_ms", "duration_ms", "closed_ns",
    "leases", "gap_p99_ms",
)  # fmt: skip
closing_values = attrgetter(*CLOSING, "id")
# What a reserve fills in; the other columns have their value of an open hold by DEFAULT (fewer values to bind).
OPENING = tuple(name for name in HoldRow.__struct_fields__ if name not in CLOSING or name == "lease_output")
opening_values = attrgetter(*OPENING)

SELECT_ACCOUNT = f"SELECT {_columns(Account)} FROM account"  # noqa: S608
SELECT_KEY = f"SELECT {_columns(Key)} FROM api_key"  # noqa: S608
_ACCOUNT = SELECT_ACCOUNT + " WHERE id = ?"
_ACCOUNT_NAMED = SELECT_ACCOUNT + " WHERE name = ?"
READ_KEY = SELECT_KEY + " WHERE id = ?"
_USAGE_DAY = f"SELECT {_columns(UsageDay)} FROM usage_day WHERE account_id = ? AND day = ?"  # noqa: S608
_USAGE_MODEL = (
    f"SELECT {_columns(UsageModel)} FROM usage_model"  # noqa: S608
    " WHERE account_id = ? AND day = ? AND key_id = ? AND model = ?"
)
READ_HOLD = f"SELECT {_columns(HoldRow)} FROM hold WHERE id = ?"  # noqa: S608
INSERT_HOLD = _insert("hold", OPENING)
UPDATE_HOLD = f"UPDATE hold SET {' = ?, '.join(CLOSING)} = ? WHERE id = ? AND state = 'open'"  # noqa: S608
_WRITE_DAY = _upsert("usage_day", UsageDay, "account_id, day")
_WRITE_MODEL = _upsert("usage_model", UsageModel, "account_id, day, key_id, model")
_WRITE_ACCOUNT = _upsert("account", Account, "id")
_WRITE_KEY = _upsert("api_key", Key, "id")
_HOLD_FIELDS = HoldRow.__struct_fields__
ATTEMPTS = f"SELECT {_columns(Attempt)} FROM idempotency WHERE key_id = ? AND name = ?"  # noqa: S608
FORGET_ATTEMPTS = "DELETE FROM idempotency WHERE key_id = ? AND name = ?"
INSERT_ATTEMPT = _insert("idempotency", Attempt.__struct_fields__)
KEEP_REPLY = "UPDATE idempotency SET reply = ? WHERE hold_id = ?"
_AUDIT = "INSERT INTO audit (at_ns, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)"

Values = tuple[Any, ...]


def account_of(row: Values) -> Account:
    """A row of ``SELECT_ACCOUNT`` as its Struct."""
    account = Account(**dict(zip(Account.__struct_fields__, row, strict=True)))
    account.models = _list(row[9])
    account.unlimited = bool(account.unlimited)
    return account


def key_of(row: Values) -> Key:
    """A row of ``SELECT_KEY`` as its Struct."""
    key = Key(**dict(zip(Key.__struct_fields__, row, strict=True)))
    key.models = _list(row[5])
    return key


def _list(text: str | None) -> list[str] | None:
    return None if text is None else orjson.loads(text)


def _flat(row: Account | Key) -> Values:
    """The row as SQLite keeps it: a list is JSON text."""
    values = astuple(row)
    if row.models is None:
        return values
    text = orjson.dumps(row.models).decode()
    return tuple(text if value is row.models else value for value in values)


class SqliteBook:
    """The rows of one batch. Use ``write`` before reading the tables by SQL, and before COMMIT."""

    def __init__(self, connection: Connection, open_holds: Mapping[str, HoldRow]) -> None:
        """``open_holds``: those of the last commit, by id. They are copied before they change, never changed."""
        self.connection = connection
        self.touched_holds: dict[str, HoldRow] = {}
        self._open_holds = open_holds
        self.touched_accounts: dict[str, Account] = {}
        self.touched_keys: dict[str, Key] = {}
        self.touched_days: dict[tuple[str, int], UsageDay] = {}
        self.touched_models: dict[tuple[str, int, str, str], UsageModel] = {}
        self._new_holds: list[HoldRow] = []
        self._attempts: dict[tuple[str, str], list[Attempt]] = {}
        self._new_attempts: list[Attempt] = []
        self._replies: list[tuple[bytes, str]] = []
        self._written: dict[Any, Values] = {}  # what the tables hold of each row, by the key it is cached under

    def account(self, account_id: str) -> Account | None:
        """The account by id."""
        found = self.touched_accounts.get(account_id)
        return found if found is not None else self._load_account(_ACCOUNT, account_id)

    def account_named(self, name_or_id: str) -> Account | None:
        """The account by name, or else by id."""
        for account in self.touched_accounts.values():
            if account.name == name_or_id:
                return account
        return self._load_account(_ACCOUNT_NAMED, name_or_id) or self.account(name_or_id)

    def _load_account(self, statement: str, value: str) -> Account | None:
        row = self.connection.execute(statement, (value,)).fetchone()
        if row is None:
            return None
        account = account_of(row)
        self._written[account.id] = row
        self.touched_accounts[account.id] = account
        return account

    def add_account(self, account: Account) -> None:
        """A new account."""
        self.touched_accounts[account.id] = account

    def key(self, key_id: str) -> Key | None:
        """The API key by id."""
        found = self.touched_keys.get(key_id)
        if found is None:
            row = self.connection.execute(READ_KEY, (key_id,)).fetchone()
            if row is None:
                return None
            found = self.touched_keys[key_id] = key_of(row)
            self._written[key_id] = row
        return found

    def add_key(self, key: Key) -> None:
        """A new API key."""
        self.touched_keys[key.id] = key

    def usage_day(self, account_id: str, day: int) -> UsageDay:
        """The account's day, made where there is none."""
        index = (account_id, day)
        found = self.touched_days.get(index)
        if found is None:
            row = self.connection.execute(_USAGE_DAY, index).fetchone()
            found = self.touched_days[index] = UsageDay(account_id=account_id, day=day)
            if row is not None:
                _, _, found.posted_input, found.posted_output, *reserved = row
                found.reserved_input, found.reserved_output, found.requests = reserved
            self._written[index] = astuple(found)
        return found

    def usage_model(self, account_id: str, day: int, key_id: str, model: str) -> UsageModel:
        """The day's row of one key and model, made where there is none."""
        index = (account_id, day, key_id, model)
        found = self.touched_models.get(index)
        if found is None:
            row = self.connection.execute(_USAGE_MODEL, index).fetchone()
            if row is None:
                found = UsageModel(account_id=account_id, day=day, key_id=key_id, model=model)
            else:
                found = UsageModel(**dict(zip(UsageModel.__struct_fields__, row, strict=True)))
            self.touched_models[index] = found
            self._written[index] = astuple(found)
        return found

    def hold(self, hold_id: str) -> HoldRow | None:
        """The hold by id."""
        found = self.touched_holds.get(hold_id)
        if found is None:
            found = copy(self._open_holds.get(hold_id)) or self._load_hold(hold_id)
            if found is not None:
                self.touched_holds[hold_id] = found
                self._written[hold_id] = closing_values(found)
        return found

    def _load_hold(self, hold_id: str) -> HoldRow | None:
        row = self.connection.execute(READ_HOLD, (hold_id,)).fetchone()
        return None if row is None else HoldRow(**dict(zip(_HOLD_FIELDS, row, strict=True)))

    def add_hold(self, row: HoldRow) -> None:
        """A new hold, as a reserve makes it: open, nothing charged."""
        self._new_holds.append(row)
        self.touched_holds[row.id] = row
        self._written[row.id] = closing_values(row)

    def attempts(self, key_id: str, name: str) -> list[Attempt]:
        """What was admitted for that key under that Idempotency-Key."""
        index = (key_id, name)
        if index not in self._attempts:
            self._attempts[index] = [
                Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True)))
                for row in self.connection.execute(ATTEMPTS, index)
            ]
        return self._attempts[index]

    def add_attempt(self, attempt: Attempt) -> None:
        """A request was admitted under an Idempotency-Key; earlier attempts of that name are forgotten."""
        self._attempts[attempt.key_id, attempt.name] = [attempt]
        self._new_attempts.append(attempt)

    def keep_reply(self, hold_id: str, reply: bytes) -> None:
        """The whole answer of a hold that was made under an Idempotency-Key."""
        self._replies.append((reply, hold_id))

    def audit(self, at: Moment, action: str, subject: str, detail: dict[str, Any]) -> None:
        """One line of the audit log, in the name of ``at.actor``."""
        self.connection.execute(_AUDIT, (at.now_ns, at.actor, action, subject, orjson.dumps(detail).decode()))

    def write(self) -> None:
        """Bring the tables up to date with the rows. sqlite3.Error if the file refuses."""
        self._write_changed(_WRITE_ACCOUNT, self.touched_accounts, _flat)
        self._write_changed(_WRITE_KEY, self.touched_keys, _flat)
        self._write_changed(_WRITE_DAY, self.touched_days, astuple)
        self._write_changed(_WRITE_MODEL, self.touched_models, astuple)
        if self._new_holds:
            self.connection.executemany(INSERT_HOLD, [opening_values(row) for row in self._new_holds])
            self._new_holds.clear()
        self._write_holds()
        if self._new_attempts or self._replies:
            self._write_attempts()

    def _write_attempts(self) -> None:
        for attempt in self._new_attempts:
            self.connection.execute(FORGET_ATTEMPTS, (attempt.key_id, attempt.name))
            self.connection.execute(INSERT_ATTEMPT, astuple(attempt))
        if self._replies:
            self.connection.executemany(KEEP_REPLY, self._replies)
        self._new_attempts.clear()
        self._replies.clear()

    def _write_changed(self, statement: str, rows: dict[Any, Any], flat: Any) -> None:
        written = self._written
        changed = []
        for index, row in rows.items():
            values = flat(row)
            if written.get(index) != values:
                written[index] = values
                changed.append(values)
        if changed:
            self.connection.executemany(statement, changed)

    def _write_holds(self) -> None:
        changed = []
        for hold_id, row in self.touched_holds.items():
            values = closing_values(row)
            if self._written[hold_id] != values:
                self._written[hold_id] = values
                changed.append(values)
        if not changed:
            return
        # The guard of "closed exactly once": an update that finds its row closed is a broken book, not a no-op.
        if self.connection.executemany(UPDATE_HOLD, changed).rowcount != len(changed):
            raise sqlite3.IntegrityError("a hold was closed behind the book's back")
