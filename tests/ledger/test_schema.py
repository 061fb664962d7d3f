from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import rules, schema
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import NOON_NS, account, command, finished, key, moment


@pytest.fixture
def raw() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_preparing_twice_changes_nothing(raw: sqlite3.Connection) -> None:
    schema.prepare(raw)
    schema.set_meta(raw, "boot", 5)
    schema.prepare(raw)
    assert (schema.meta(raw, "boot"), schema.meta(raw, "schema_version")) == (5, schema.VERSION)


def test_another_programs_database_is_left_alone(raw: sqlite3.Connection) -> None:
    raw.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(LedgerError, match="another program"):
        schema.prepare(raw)
    assert not raw.in_transaction


def test_a_newer_ledger_is_refused(raw: sqlite3.Connection) -> None:
    schema.prepare(raw)
    schema.set_meta(raw, "schema_version", schema.VERSION + 1)
    with pytest.raises(LedgerError, match="newer streamrouter"):
        schema.prepare(raw)


def test_tables_are_made_without_strict_where_sqlite_is_older(
    raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    schema.prepare(raw)
    assert schema.meta(raw, "boot") == 0
    assert raw.execute("SELECT count(*) FROM sqlite_master WHERE sql LIKE '%STRICT%'").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE hold SET s_output = 1",
        "UPDATE entry SET amount = 0",
        "DELETE FROM entry",
        "UPDATE audit SET action = ''",
        "DELETE FROM audit",
        "UPDATE account SET reserved = 1",
        "UPDATE account SET spent = -1",
        "UPDATE api_key SET in_flight = -1",
        "UPDATE usage_day SET reserved_output = -1",
        "INSERT INTO usage_day VALUES ('acct_9', 1, 0, 0, 0, 0, 0)",
    ],
)
def test_the_file_itself_refuses_what_breaks_the_books(raw: sqlite3.Connection, statement: str) -> None:
    raw.execute("PRAGMA foreign_keys = ON")
    schema.prepare(raw)
    book = SqliteBook(raw, {})
    book.add_account(account())
    book.add_key(key())
    reserved: Any = rules.reserve(book, command(), moment())
    rules.settle(book, reserved.id, finished(), NOON_NS)
    book.audit(moment(), "tested", "acct_1", {})
    book.write()
    raw.execute("INSERT INTO entry VALUES ('ent_1', 'acct_1', 'payment', 5, NULL, 0)")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)
