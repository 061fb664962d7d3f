"""Both engines: an empty ledger of each as a raw connection, and as a place that ``opened`` takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrouter.ledger import schema
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres.connection import PostgresConnection, connect
from streamrouter.ledger.verdicts import DatabaseError
from tests.support.postgres import Cluster

ENGINES = ("sqlite", "postgres")


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger is: a file that does not exist yet, or a database."""
    if request.param == "sqlite":
        return str(tmp_path / "l.db")
    url: str = request.getfixturevalue("ledger_url")
    return url


class Empty:
    """A ledger in Postgres that stays empty: whoever uses it does so in a transaction that is rolled back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = connect(url, durable=False)

    def begin(self) -> PostgresConnection:
        """Its connection, in a transaction; a new one where a test before has stopped the server."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except DatabaseError:
            self.close()
            self._connection = connect(self._url, durable=False)
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="session")
def empty_ledger(postgres: Cluster, ledger_template: str) -> Iterator[Empty]:
    with closing(Empty(postgres.database(ledger_template))) as made:
        yield made


@pytest.fixture(params=ENGINES)
def tables(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to a ledger without rows."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            schema.prepare(connection)
            yield connection
    else:
        shared = request.getfixturevalue("empty_ledger").begin()
        yield shared
        if shared.in_transaction:
            shared.execute("ROLLBACK")
