"""Both engines: an empty ledger of each as a raw connection, and as a place that ``opened`` takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrouter.ledger import schema
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres.connection import connect
from tests.support.postgres import Cluster

ENGINES = ("sqlite", "postgres")


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger is: a file that does not exist yet, or a database."""
    if request.param == "sqlite":
        return str(tmp_path / "l.db")
    url: str = request.getfixturevalue("ledger_url")
    return url


@pytest.fixture(scope="session")
def ledger_session(postgres: Cluster, ledger_template: str) -> Iterator[Connection]:
    """A connection to a ledger in Postgres that stays empty."""
    with closing(connect(postgres.database(ledger_template), durable=False)) as connection:
        yield connection


@pytest.fixture(params=ENGINES)
def tables(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to a ledger without rows."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            schema.prepare(connection)
            yield connection
    else:
        shared: Connection = request.getfixturevalue("ledger_session")
        shared.execute("BEGIN IMMEDIATE")
        yield shared
        if shared.in_transaction:
            shared.execute("ROLLBACK")
