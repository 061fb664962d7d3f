from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import opening, rules, schema
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import DAY, NOON_NS, account, command, key, moment


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_open_holds_of_older_boots_are_recovered_once(tmp_path: Path) -> None:
    raw = connect(tmp_path / "l.db")
    first = opening.prepare(raw, NOON_NS)
    assert (first.boot, first.recovered, first.last_day, first.keys) == (1, 0, 0, [])
    schema.set_meta(raw, "last_day", DAY)
    book = SqliteBook(raw, {})
    book.add_account(account())
    book.add_key(key())
    rules.reserve(book, command(id="req_1"), moment())
    rules.extend(book, "req_1", 300)
    book.write()
    second = opening.prepare(raw, NOON_NS + 1)
    assert (second.boot, second.recovered, second.keys[0].in_flight) == (2, 1, 0)
    rows = "SELECT * FROM hold", "SELECT * FROM usage_day", "SELECT * FROM usage_model", "SELECT * FROM account"
    before = [raw.execute(row).fetchall() for row in rows]
    assert raw.execute("SELECT state, s_input, s_output FROM hold").fetchall() == [("recovered", 100, 300)]
    third = opening.prepare(raw, NOON_NS + 2)
    assert (third.boot, third.recovered) == (3, 0)
    assert [raw.execute(row).fetchall() for row in rows] == before
    raw.close()


def test_wrong_books_are_not_opened(tmp_path: Path) -> None:
    raw = connect(tmp_path / "l.db")
    opening.prepare(raw, NOON_NS)
    raw.execute("INSERT INTO account SELECT 'a', 'a', 'active', 0, 0, 0, 0, 0, 0, NULL, 0, 5, 0, 0, 0")
    with pytest.raises(LedgerError, match=r"do not add up(.|\n)*sum of its entries"):
        opening.prepare(raw, NOON_NS)
    raw.close()


def test_a_recovery_that_fails_changes_nothing(tmp_path: Path) -> None:
    raw = connect(tmp_path / "l.db")
    opening.prepare(raw, NOON_NS)
    book = SqliteBook(raw, {})
    book.add_account(account())
    book.add_key(key())
    rules.reserve(book, command(id="req_1"), moment())
    book.write()
    raw.execute("UPDATE api_key SET in_flight = 0")
    with pytest.raises(sqlite3.IntegrityError):
        opening.prepare(raw, NOON_NS)
    assert not raw.in_transaction
    assert raw.execute("SELECT state FROM hold").fetchall() == [("open",)]
    raw.close()
