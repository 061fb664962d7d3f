from __future__ import annotations

import sqlite3

import pytest

from streamrouter.ledger import rules, schema
from streamrouter.ledger.book import Book
from streamrouter.ledger.records import Hold
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import NOON_NS, account, book, command, finished, key, moment


def sqlite_book(raw: sqlite3.Connection) -> SqliteBook:
    schema.prepare(raw)
    made = SqliteBook(raw, {})
    made.add_account(account(credited=10**9))
    made.add_key(key())
    return made


@pytest.mark.parametrize("kind", ["dict", "sqlite"])
def test_the_rules_say_the_same_over_every_book(kind: str) -> None:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    any_book: Book = book(of=account(credited=10**9)) if kind == "dict" else sqlite_book(raw)
    hold = rules.reserve(any_book, command(id="req_1", prepaid=True), moment())
    assert isinstance(hold, Hold)
    assert rules.settle(any_book, "req_1", finished(), NOON_NS).cost == 135_000
    assert any_book.hold("req_2") is None
    row = any_book.account("acct_1")
    assert row is not None and (row.spent, row.reserved) == (135_000, 0)
    raw.close()
