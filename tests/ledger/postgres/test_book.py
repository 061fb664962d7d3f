from __future__ import annotations

import pytest

from streamrouter.ledger import rules
from streamrouter.ledger.book import Book, Needs
from streamrouter.ledger.postgres.book import BatchBook, SharedBook, reading
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.records import Attempt, Hold, HoldRow
from streamrouter.ledger.verdicts import DatabaseError
from tests.ledger.books import DAY, NOON_NS, account, command, finished, key, moment
from tests.ledger.postgres.conftest import Connect


def batch(connection: PostgresConnection, *holds: str, known: dict[str, HoldRow] | None = None) -> BatchBook:
    """The book of a batch that looks at the key and at these holds, in a transaction."""
    needs = Needs()
    needs.keys.add("key_1")
    needs.holds.update(holds)
    _, accounts, rows = connection.exchange([("BEGIN IMMEDIATE", ()), *reading(needs, known or {})])
    (row,) = rows
    return BatchBook(connection, accounts, row[4:], row[1] - 1, known or {})


def commit(connection: PostgresConnection, book: BatchBook) -> None:
    connection.exchange([*book.writing(), ("COMMIT", ())])


def test_a_request_is_reserved_and_settled(connection: PostgresConnection) -> None:
    book: Book = batch(connection)
    first = rules.reserve(book, command(id="req_1", prepaid=True), moment())
    assert isinstance(first, Hold) and isinstance(book, BatchBook)
    assert isinstance(rules.reserve(book, command(id="req_2"), moment()), Hold)
    rules.settle(book, "req_2", finished(1, 2), NOON_NS)
    commit(connection, book)
    assert list(book.new_holds) == ["req_1", "req_2"]
    trips = connection.round_trips
    book = batch(connection, "req_1")
    assert rules.settle(book, "req_1", finished(), NOON_NS).cost == 135_000
    commit(connection, book)
    assert connection.round_trips - trips == 2
    assert connection.execute("SELECT spent, reserved FROM account").fetchall() == [(135_000, 0)]
    assert connection.execute("SELECT in_flight FROM api_key").fetchall() == [(0,)]
    assert connection.execute(
        "SELECT posted_input, posted_output, reserved_output, requests FROM usage_day"
    ).fetchall()[0] == (101, 202, 0, 2)
    assert connection.execute("SELECT requests, input, output, spent FROM usage_model").fetchall() == [
        (2, 101, 202, 135_000)
    ]
    assert connection.execute("SELECT id, state FROM hold ORDER BY id").fetchall() == [
        ("req_1", "settled"),
        ("req_2", "settled"),
    ]


def test_what_is_refused_writes_nothing(connection: PostgresConnection) -> None:
    book = batch(connection)
    rules.reserve(book, command(n=1000), moment())
    assert book.writing() == []
    connection.execute("ROLLBACK")


def test_a_hold_that_is_known_is_not_read_and_not_changed(connection: PostgresConnection) -> None:
    book = batch(connection)
    rules.reserve(book, command(id="req_1"), moment())
    commit(connection, book)
    known = dict(book.touched_holds)
    book = batch(connection, "req_1", known=known)
    assert book.touched_holds == {}
    rules.extend(book, "req_1", 300)
    commit(connection, book)
    assert (known["req_1"].lease_output, book.touched_holds["req_1"].lease_output) == (256, 300)
    assert connection.execute("SELECT lease_output, leases FROM hold").fetchall() == [(300, "256 300")]


def test_rows_that_nobody_named_are_read_when_they_are_asked_for(connection: PostgresConnection) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE name = 'last_day'", (DAY,))
    days = [("acct_1", DAY - 5), ("acct_1", DAY - 1), ("acct_2", DAY)]
    shared = SharedBook(connection)
    shared.add_account(account(id="acct_2", name="b"))
    shared.add_key(key(id="key_2", account_id="acct_2", hash=b"2"))
    shared.write()
    for account_id, day in days:
        connection.execute("INSERT INTO usage_day VALUES (?, ?, 1, 2, 3, 4, 5)", (account_id, day))
    book = batch(connection)
    trips = connection.round_trips
    assert book.usage_day("acct_1", DAY - 1).posted_output == 2 and book.usage_day("acct_1", DAY).requests == 0
    assert connection.round_trips == trips, "yesterday and today came with the batch"
    assert book.usage_day("acct_1", DAY - 5).requests == 5
    other = book.account("acct_2")
    assert other is not None and other.name == "b"
    assert book.usage_day("acct_2", DAY).requests == 5
    found = book.key("key_2")
    assert found is not None and found.hash == b"2"
    assert (book.account("acct_9"), book.key("key_9"), book.hold("req_9")) == (None, None, None)
    assert book.writing() == []
    connection.execute("ROLLBACK")


def test_attempts_and_replies(connection: PostgresConnection) -> None:
    book = batch(connection)
    rules.reserve(book, command(id="req_1"), moment())
    attempt = Attempt(hold_id="req_1", key_id="key_1", name="n", fingerprint=b"f", created_ns=1)
    assert book.attempts("key_1", "n") == []
    book.add_attempt(attempt)
    assert book.attempts("key_1", "n") == [attempt]
    book.keep_reply("req_1", b"{}")
    commit(connection, book)
    (kept,) = batch(connection).attempts("key_1", "n")
    assert (kept.hold_id, kept.reply) == ("req_1", b"{}")
    connection.execute("ROLLBACK")


@pytest.mark.parametrize("ask", ["key", "account", "account_named"])
def test_an_act_locks_the_account_of_whatever_it_asks_for(
    connection: PostgresConnection, another: Connect, ask: str
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    book = SharedBook(connection)
    found = {"key": "key_1", "account": "acct_1", "account_named": "team-a"}[ask]
    assert getattr(book, ask)(found) is getattr(book, ask)(found) is not None
    other = another()
    with pytest.raises(DatabaseError) as told:
        other.execute("SELECT 1 FROM account FOR NO KEY UPDATE NOWAIT")
    assert told.value.sqlstate == "55P03"
    other.execute("SELECT 1 FROM account FOR KEY SHARE NOWAIT")
    connection.execute("ROLLBACK")


def test_an_act_finds_nothing_where_there_is_nothing(connection: PostgresConnection) -> None:
    book = SharedBook(connection)
    assert (book.key("key_9"), book.account("acct_9"), book.account_named("nobody")) == (None, None, None)
