"""An account with a key in a ledger in Postgres, and connections to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from streamrouter.ledger.postgres.book import SharedBook
from streamrouter.ledger.postgres.connection import PostgresConnection, connect
from tests.ledger.books import account, key

Connect = Callable[[], PostgresConnection]


@pytest.fixture
def another(ledger_url: str) -> Iterator[Connect]:
    """Makes a connection more; all are closed at the end."""
    with ExitStack() as stack:

        def make() -> PostgresConnection:
            made = connect(ledger_url, busy_timeout_s=0.2, durable=False)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def connection(another: Connect) -> PostgresConnection:
    """One, to a ledger with an account and a key, both with the ids of ``books``."""
    made = another()
    book = SharedBook(made)
    book.add_account(account(credited=10**9, daily_output=10_000))
    book.add_key(key(hash=b"h" * 32))
    book.write()
    return made
