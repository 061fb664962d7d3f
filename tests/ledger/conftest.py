"""Both engines: an empty ledger of each as a raw connection, and as a place that ``opened`` takes.

A database is a copy of one that has the tables already: 20 ms.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrouter.ledger import schema
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres import schema as postgres_schema
from streamrouter.ledger.postgres.connection import connect
from tests.ledger.books import HOLDABLE
from tests.support.postgres import Cluster

ENGINES = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def ledger_template(postgres: Cluster) -> str:
    """A database with the ledger's tables and nothing in them."""
    url = postgres.database()
    with closing(connect(url)) as connection:
        postgres_schema.prepare(connection, 0)
    with postgres.connect(url) as session:
        session.execute(HOLDABLE)
    return url


@pytest.fixture
def ledger_url(postgres: Cluster, ledger_template: str) -> Iterator[str]:
    """A ledger in Postgres, empty."""
    url = postgres.database(ledger_template)
    yield url
    postgres.drop(url)


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger is: a file that does not exist yet, or a database."""
    if request.param == "sqlite":
        return str(tmp_path / "l.db")
    url: str = request.getfixturevalue("ledger_url")
    return url


@pytest.fixture(params=ENGINES)
def tables(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to a ledger without rows."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            schema.prepare(connection)
            yield connection
    else:
        with closing(connect(request.getfixturevalue("ledger_url"), durable=False)) as other:
            yield other
