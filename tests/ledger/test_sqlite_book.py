from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.ledger import rules, schema
from streamrouter.ledger.records import HoldRow
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import NOON_NS, account, command, finished, key, moment


@pytest.fixture
def raw() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    book = SqliteBook(connection, {})
    book.add_account(account(credited=10**9, models=["gpt", "claude"]))
    book.add_key(key(models=["gpt"]))
    book.write()
    yield connection
    connection.close()


def reserved(book: SqliteBook, **fields: Any) -> HoldRow:
    hold: Any = rules.reserve(book, command(**fields), moment())
    row = book.hold(hold.id)
    assert row is not None
    return row


def test_rows_come_back_as_they_were_written(raw: sqlite3.Connection) -> None:
    book = SqliteBook(raw, {})
    assert book.account("acct_1") == account(credited=10**9, models=["gpt", "claude"])
    assert book.account_named("team-a") is book.account_named("acct_1") is book.account("acct_1")
    assert book.key("key_1") == key(models=["gpt"])
    assert [book.account_named("nobody"), book.key("key_9"), book.hold("req_9")] == [None, None, None]
    row = reserved(book, prepaid=True)
    rules.settle(book, row.id, finished(cached_tokens=5), NOON_NS)
    book.write()
    again = SqliteBook(raw, {})
    assert again.hold(row.id) == row
    assert again.usage_day("acct_1", row.day) == book.usage_day("acct_1", row.day)
    model = ("acct_1", row.day, "key_1", row.model)
    assert again.usage_model(*model) == book.usage_model(*model)
    assert again.account("acct_1") == book.account("acct_1")


def test_only_changed_rows_are_written(raw: sqlite3.Connection) -> None:
    book = SqliteBook(raw, {})
    row = reserved(book)
    book.write()
    written: list[str] = []
    raw.set_trace_callback(written.append)
    book.write()
    other = SqliteBook(raw, {})
    other.account("acct_1"), other.key("key_1"), other.hold(row.id), other.usage_day("acct_1", row.day)
    other.usage_day("acct_1", row.day + 1), other.usage_model("acct_1", row.day, "key_1", "none")
    other.write()
    assert [statement for statement in written if not statement.startswith("SELECT")] == []


def test_the_open_holds_of_the_last_commit_are_copied_not_changed(raw: sqlite3.Connection) -> None:
    first = SqliteBook(raw, {})
    row = reserved(first)
    first.write()
    kept = {row.id: row}
    book = SqliteBook(raw, kept)
    rules.settle(book, row.id, finished(), NOON_NS)
    assert kept[row.id].state == "open"
    book.write()
    assert raw.execute("SELECT state FROM hold").fetchall() == [("settled",)]


def test_a_hold_that_was_closed_behind_the_books_back_is_an_error(raw: sqlite3.Connection) -> None:
    first = SqliteBook(raw, {})
    row = reserved(first)
    first.write()
    raw.execute("DROP TRIGGER hold_closed_no_update")
    raw.execute("UPDATE hold SET state = 'released'")
    book = SqliteBook(raw, {row.id: row})
    rules.settle(book, row.id, finished(), NOON_NS)
    with pytest.raises(sqlite3.IntegrityError, match="behind the book's back"):
        book.write()


def test_an_audit_line_is_json(raw: sqlite3.Connection) -> None:
    at = moment()
    SqliteBook(raw, {}).audit(replace(at, actor="anna"), "tested", "acct_1", {"daily_input": None})
    found = raw.execute("SELECT number, at_ns, actor, action, subject, detail FROM audit").fetchall()
    assert found == [(1, at.now_ns, "anna", "tested", "acct_1", '{"daily_input":null}')]
