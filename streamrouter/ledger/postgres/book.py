"""Books over Postgres: one for batches of requests, whose rows come in one round trip and leave in another, and one for
everything else, which reads row by row.

An account's row is locked before anything of it is read, and what is read is what the last one who had the lock left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import msgspec
import orjson
from msgspec.structs import astuple

from streamrouter.ledger import sqlite_book
from streamrouter.ledger.book import Needs
from streamrouter.ledger.connection import Connection, Values
from streamrouter.ledger.postgres import statements
from streamrouter.ledger.records import Account, Attempt, HoldRow, Key, UsageDay, UsageModel
from streamrouter.ledger.sqlite_book import SqliteBook, account_of, closing_values, key_of

_keys = msgspec.json.Decoder(list[Key])
_days = msgspec.json.Decoder(list[UsageDay])
_holds = msgspec.json.Decoder(list[HoldRow])
_encode = msgspec.json.Encoder().encode
Statement = tuple[str, Values]


def named(ids: Iterable[str]) -> str:
    """Ids as a value of a statement."""
    return orjson.dumps(list(ids)).decode()


def reading(needs: Needs, known: Mapping[str, HoldRow]) -> list[Statement]:
    """What locks and reads the rows of a batch; ``known`` holds need not be read."""
    keys = named(needs.keys)
    return [
        (statements.LOCK_ACCOUNTS, (keys,)),
        (statements.READ, (keys, keys, named(needs.holds - known.keys()))),
    ]


def _json(rows: Iterable[Any]) -> str:
    return _encode(list(rows)).decode()


class BatchBook:
    """The rows of a batch of requests: those that were read beforehand, and any other when it is asked for."""

    def __init__(
        self, connection: Connection, accounts: Iterable[Any], rows: Sequence[str], from_day: int,
        known: Mapping[str, HoldRow],
    ) -> None:  # fmt: skip
        """``accounts`` and ``rows``: the answers to ``reading``; ``from_day``: the first day of those that were read.
        ``known`` holds are copied before they change, never changed.
        """
        self.connection = connection
        self.touched_accounts = {row[0]: account_of(row) for row in accounts}
        self.touched_keys = {key.id: key for key in _keys.decode(rows[0])}
        self.touched_holds: dict[str, HoldRow] = {row.id: row for row in _holds.decode(rows[2])}
        self._days = {(row.account_id, row.day): row for row in _days.decode(rows[1])}
        self._models: dict[tuple[str, int, str, str], UsageModel] = {}
        self._from_day = from_day
        self._read = frozenset(self.touched_accounts)  # accounts whose days were read
        self._known = known
        self._new_holds: dict[str, HoldRow] = {}
        self._attempts: list[Statement] = []
        self._tried: dict[tuple[str, str], list[Attempt]] = {}
        self._accounts_before = {account.id: copy(account) for account in self.touched_accounts.values()}
        self._keys_before = {key.id: key.in_flight for key in self.touched_keys.values()}
        self._days_before = {index: copy(row) for index, row in self._days.items()}
        self._holds_before = {row.id: closing_values(row) for row in self.touched_holds.values()}

    def account(self, account_id: str) -> Account | None:
        """The account by id."""
        found = self.touched_accounts.get(account_id)
        if found is None:
            row = self.connection.execute(statements.LOCK_ACCOUNT, (account_id,)).fetchone()
            if row is None:
                return None
            found = self.touched_accounts[account_id] = account_of(row)
            self._accounts_before[account_id] = copy(found)
        return found

    def key(self, key_id: str) -> Key | None:
        """The API key by id; one that was not named beforehand is of an account that was (a rotated key's other)."""
        found = self.touched_keys.get(key_id)
        if found is None:
            row = self.connection.execute(sqlite_book.READ_KEY, (key_id,)).fetchone()
            if row is None:
                return None
            found = self.touched_keys[key_id] = key_of(row)
            self._keys_before[key_id] = found.in_flight
        return found

    def usage_day(self, account_id: str, day: int) -> UsageDay:
        """The account's day, made where there is none."""
        index = (account_id, day)
        found = self._days.get(index)
        if found is None:
            found = UsageDay(account_id=account_id, day=day)
            if day < self._from_day or account_id not in self._read:
                row = self.connection.execute(statements.READ_DAY, index).fetchone()
                found = found if row is None else UsageDay(**dict(zip(UsageDay.__struct_fields__, row, strict=True)))
            self._days[index] = found
            self._days_before[index] = copy(found)
        return found

    def usage_model(self, account_id: str, day: int, key_id: str, model: str) -> UsageModel:
        """What this batch adds to the day's row of one key and model."""
        index = (account_id, day, key_id, model)
        found = self._models.get(index)
        if found is None:
            found = self._models[index] = UsageModel(account_id=account_id, day=day, key_id=key_id, model=model)
        return found

    def hold(self, hold_id: str) -> HoldRow | None:
        """The hold by id."""
        found = self.touched_holds.get(hold_id)
        if found is None:
            found = copy(self._known.get(hold_id))
            if found is None:
                row = self.connection.execute(sqlite_book.READ_HOLD, (hold_id,)).fetchone()
                if row is None:
                    return None
                found = HoldRow(**dict(zip(HoldRow.__struct_fields__, row, strict=True)))
            self.touched_holds[hold_id] = found
            self._holds_before[hold_id] = closing_values(found)
        return found

    def add_hold(self, row: HoldRow) -> None:
        """A new hold, as a reserve makes it: open, nothing charged."""
        self._new_holds[row.id] = copy(row)
        self.touched_holds[row.id] = row
        self._holds_before[row.id] = closing_values(row)

    def attempts(self, key_id: str, name: str) -> list[Attempt]:
        """What was admitted for that key under that Idempotency-Key."""
        index = (key_id, name)
        if index not in self._tried:
            rows = self.connection.execute(sqlite_book.ATTEMPTS, index)
            self._tried[index] = [Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True))) for row in rows]
        return self._tried[index]

    def add_attempt(self, attempt: Attempt) -> None:
        """A request was admitted under an Idempotency-Key; earlier attempts of that name are forgotten."""
        self._tried[attempt.key_id, attempt.name] = [attempt]
        self._attempts.append((sqlite_book.FORGET_ATTEMPTS, (attempt.key_id, attempt.name)))
        self._attempts.append((sqlite_book.INSERT_ATTEMPT, astuple(attempt)))

    def keep_reply(self, hold_id: str, reply: bytes) -> None:
        """The whole answer of a hold that was made under an Idempotency-Key."""
        self._attempts.append((sqlite_book.KEEP_REPLY, (reply, hold_id)))

    @property
    def new_holds(self) -> dict[str, HoldRow]:
        """The holds that this batch made, as they were made."""
        return self._new_holds

    def writing(self) -> list[Statement]:
        """What brings the tables up to date with the rows."""
        accounts = [row for row in self.touched_accounts.values() if row != self._accounts_before[row.id]]
        keys = [row for row in self.touched_keys.values() if row.in_flight != self._keys_before[row.id]]
        days = [row for index, row in self._days.items() if row != self._days_before[index]]
        models = [row for row in self._models.values() if row.requests]
        changed = [row for row in self.touched_holds.values() if closing_values(row) != self._holds_before[row.id]]
        found: list[Statement] = []
        # The holds first: if one of them was closed by others, nothing else of this batch is right either.
        if self._new_holds:
            found.append((statements.INSERT_HOLDS, (_json(self._new_holds.values()),)))
        if changed:
            found.append((statements.UPDATE_HOLDS, (_json(changed), len(changed))))
        for statement, rows in (
            (statements.WRITE_ACCOUNTS, accounts),
            (statements.WRITE_KEYS, keys),
            (statements.WRITE_DAYS, days),
            (statements.ADD_MODELS, models),
        ):
            if rows:
                found.append((statement, (_json(rows),)))
        return found + self._attempts


class SharedBook(SqliteBook):
    """The rows of an act of administration, or of a recovery: each is locked when it is first asked for."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, {})

    def account(self, account_id: str) -> Account | None:
        """The account by id, locked."""
        found = self.touched_accounts.get(account_id)
        return found if found is not None else self._load_account(statements.LOCK_ACCOUNT, account_id)

    def account_named(self, name_or_id: str) -> Account | None:
        """The account by name, or else by id, locked."""
        for account in self.touched_accounts.values():
            if account.name == name_or_id:
                return account
        return self._load_account(statements.LOCK_ACCOUNT_NAMED, name_or_id) or self.account(name_or_id)

    def key(self, key_id: str) -> Key | None:
        """The API key by id, as it is once its account is locked."""
        if key_id not in self.touched_keys:
            row = self.connection.execute("SELECT account_id FROM api_key WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                return None
            self.account(row[0])
        return super().key(key_id)
