from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from streamrouter.ledger import invariants, rules, schema
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.endings import released
from tests.ledger.books import DAY, NOON_NS, account, command, finished, key, moment

# What stops a wrong row in Postgres: foreign keys first, which the keys that they refer to depend on.
_DEFENCES = """
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
        WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
    UNION ALL SELECT format('ALTER TABLE %s DISABLE TRIGGER USER', oid::regclass) FROM pg_class
        WHERE relname IN ('hold', 'entry')"""


@pytest.fixture
def raw(tables: Connection) -> Connection:
    """Books with one hold in every state, and nothing in the database's own way of being broken."""
    connection = tables
    schema.set_meta(connection, "boot", 1)
    schema.set_meta(connection, "last_day", DAY)
    book = SqliteBook(connection, {})
    book.add_account(account(credited=10**9))
    book.add_key(key(concurrency=4))
    for number in range(4):
        rules.reserve(book, command(id=f"req_{number}", prepaid=True), moment())
    rules.settle(book, "req_1", finished(), NOON_NS)
    rules.settle(book, "req_2", released("cancelled"), NOON_NS)
    rules.recover(book, "req_3", NOON_NS)
    book.write()
    columns, values = "(id, account_id, kind, amount, created_ns)", "('ent_1', 'acct_1', 'payment', 1000000000, 0)"
    connection.execute(f"INSERT INTO entry {columns} VALUES {values}")  # noqa: S608 - of our own
    if isinstance(connection, sqlite3.Connection):
        for statement in ("DROP TRIGGER hold_closed_no_update", "DROP TRIGGER entry_no_update"):
            connection.execute(statement)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
    else:
        for (statement,) in connection.execute(_DEFENCES).fetchall():
            connection.execute(statement)
    return connection


def test_right_books_have_no_breach(raw: Connection) -> None:
    assert invariants.check(raw) == []


BREACHES = {
    "UPDATE entry SET amount = 5": "sum of its entries",
    "UPDATE account SET credited = 5": "more than was credited",
    "UPDATE account SET reserved = reserved + 1": "that of its open holds",
    "UPDATE account SET spent = spent + 1": "sum of its usage",
    "UPDATE api_key SET in_flight = 2": "not its open holds",
    "UPDATE api_key SET concurrency = 0": "not its open holds",
    "UPDATE usage_day SET reserved_input = 0": "a day's reserved tokens",
    "UPDATE usage_day SET posted_output = posted_output - 1": "a day's posted tokens",
    "DELETE FROM usage_day": "no row",
    "UPDATE hold SET lease_output = 501 WHERE id = 'req_0'": "longer than what is reserved",
    "UPDATE hold SET closed_ns = 1 WHERE id = 'req_0'": "charged or closed",
    """INSERT INTO idempotency (hold_id, key_id, name, fingerprint, created_ns)
        SELECT h.id, k.id, 'a', k.hash, 0 FROM hold AS h CROSS JOIN api_key AS k WHERE h.id < 'req_2'
    """: "under one Idempotency-Key",
    "UPDATE meta SET value = 0 WHERE name = 'boot'": "a boot or a day to come",
    "UPDATE meta SET value = 5 WHERE name = 'last_day'": "a boot or a day to come",
}
WHOLE = {
    "UPDATE hold SET s_output = 1 WHERE id = 'req_1'": "not that of its closed holds and its archive",
    "DELETE FROM hold WHERE id = 'req_1'": "a day's requests",
    "UPDATE hold SET s_output = r_output + 1 WHERE id = 'req_1'": "charged more than it reserved",
    "UPDATE hold SET s_usd = s_usd - 1 WHERE id = 'req_1'": "not the price of its tokens",
    "INSERT INTO usage_archive VALUES ('acct_1', 20000, 'key_1', 'm', 1, 0, 0, 0, 0, 0, 0, 0, 0)": "and its archive",
    "UPDATE hold SET s_input = 1 WHERE id = 'req_2'": "a released hold was charged",
    "UPDATE hold SET closed_ns = NULL WHERE id = 'req_2'": "no time of closing",
    "UPDATE hold SET state = 'lost' WHERE id = 'req_2'": "a state that does not exist",
    "UPDATE hold SET s_output = 0 WHERE id = 'req_3'": "its input and its lease",
    "UPDATE hold SET account_id = 'acct_9' WHERE id = 'req_2'": "does not exist",
}


@pytest.mark.parametrize("statement", [*BREACHES, *WHOLE])
def test_every_breach_is_found_and_named(raw: Connection, statement: str) -> None:
    raw.execute(statement)
    expected = {**BREACHES, **WHOLE}[statement]
    assert any(expected in line for line in invariants.check(raw)), invariants.check(raw)
    assert bool(invariants.check(raw, whole=False)) is (statement in BREACHES)


def test_a_day_set_back_by_an_operator_is_no_breach(raw: Connection) -> None:
    SqliteBook(raw, {}).audit(moment(), "day_accepted", "5", {})
    schema.set_meta(raw, "last_day", 5)
    assert invariants.check(raw) == []


def test_every_query_has_its_breach() -> None:
    queries: dict[str, Any] = {**invariants._TOTALS, **invariants._QUICK, **invariants._WHOLE}
    named = [*BREACHES.values(), *WHOLE.values()]
    assert [what for what in queries if not any(text in what for text in named)] == []
