"""Fixtures that every folder uses: real servers, a real Postgres, the scripted upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamrouter.ledger.postgres import schema as postgres_schema
from streamrouter.ledger.postgres.connection import connect
from tests.ledger.books import HOLDABLE
from tests.support.postgres import Cluster
from tests.support.rig import CONFIG, PROVIDER_KEY
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A Postgres of this worker's own, started by the first test that wants it."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def database(postgres: Cluster) -> Iterator[str]:
    """The URL of an empty Postgres database."""
    url = postgres.database()
    yield url
    postgres.drop(url)


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
    """A ledger in Postgres, empty: a copy of one that has the tables already takes 20 ms."""
    url = postgres.database(ledger_template)
    yield url
    postgres.drop(url)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers; all are stopped at the end. ``serve(url, billing=…, upstream='idle_s = 1')`` or ``config=…``."""
    started: list[Server] = []

    def start(
        url: str = "demo:",
        *,
        billing: str = "tokens",
        upstream: str = "",
        keepalive_s: float = 15,
        config: str | None = None,
        env: dict[str, str] | None = None,
    ) -> Server:
        directory = tmp_path / f"server{len(started)}"
        directory.mkdir()
        text = config or CONFIG.format(
            server=f"keepalive_s = {keepalive_s}",
            ledger="",
            url=url,
            key=PROVIDER_KEY,
            upstream=upstream,
            billing=billing,
            more="",
        )
        server = Server(directory, text, env)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        elif server.process is not None and server.process.stdout is not None:
            server.process.stdout.close()
