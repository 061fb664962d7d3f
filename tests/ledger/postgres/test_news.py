from __future__ import annotations

from streamrouter.ledger import administration
from streamrouter.ledger.postgres.book import SharedBook
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.news import News, find
from tests.ledger.books import moment


def newest(connection: PostgresConnection) -> int:
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM audit").fetchone() or (0,)
    return int(number)


def test_what_was_administered_is_news_once(connection: PostgresConnection) -> None:
    news = News(newest(connection))
    trips = connection.round_trips
    assert news.fetch(connection) == ({}, {})
    assert connection.round_trips == trips, "nothing is asked while nothing is new"
    book = SharedBook(connection)
    made = administration.create_account(book, moment(), "b", {"daily_input": 5})
    key, _ = administration.create_key(book, moment(), "b", "main", "sk-", ["m"], 3)
    book.write()
    news.newest = newest(connection)
    accounts, keys = news.fetch(connection)
    assert (accounts, keys) == ({made.id: made}, {key.id: key})
    assert news.fetch(connection) == ({}, {})
    book = SharedBook(connection)
    administration.revoke_key(book, moment(), key.id)
    book.write()
    news.newest = newest(connection)
    accounts, keys = news.fetch(connection)
    assert accounts == {} and keys[key.id].status == "revoked"


def test_a_key_is_found_by_its_hash(connection: PostgresConnection) -> None:
    found = find(connection, b"h" * 32)
    assert found is not None and (found[0].id, found[1].name) == ("key_1", "team-a")
    assert find(connection, b"x" * 32) is None
