"""The Postgres database of a ledger: the driver, whether it answers, whose tables are there, how safe a commit is."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from streamrouter.cli.doctor.finding import Finding, ok, problem, warning
from streamrouter.cli.doctor.machine import clock
from streamrouter.config.place import shown
from streamrouter.errors import LedgerError
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.driver import postgres
from streamrouter.ledger.verdicts import DatabaseError

_INSTALL = "pip install 'streamrouter[postgres]'"
_OWN_CONNECTIONS = 2  # a process's: one writes, one is made while it is replaced
_FEW_CONNECTIONS = 10
_SLOW_MS = 5.0
_TIMES = 5
_SETTINGS = """SELECT current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    has_schema_privilege(current_schema(), 'CREATE'), extract(epoch FROM clock_timestamp())::float8"""


def look(url: str) -> Iterator[Finding]:
    """Everything about the database, as far as it can be looked at; nothing is made or changed."""
    driver = _driver()
    yield driver
    if driver.state == "problem":
        return
    try:
        connection: Any = postgres("connection").connect(url)
    except (LedgerError, DatabaseError) as error:
        remedy = "see that the server runs and lets this user in from here; in a URL write %40 for @ in a password"
        yield problem("database", _told(url, error), remedy)
        return
    try:
        yield from _inside(url, connection)
    except DatabaseError as error:
        yield problem("database", _told(url, error), "look at the server's log")
    finally:
        connection.close()


def _told(url: str, error: Exception) -> str:
    where = shown(url)
    return str(error) if where in str(error) else f"{where}: {error}"


def _driver() -> Finding:
    try:
        importlib.import_module("psycopg")
    except ImportError as error:
        return problem("driver", f"psycopg cannot be used: {error.args[0].strip().splitlines()[0]}", _INSTALL)
    return ok("driver", f"psycopg {version('psycopg')}")


def _inside(url: str, connection: Connection) -> Iterator[Finding]:
    tables: Any = postgres("schema")
    try:
        tables.look_at_server(connection)
    except LedgerError as error:
        yield problem("database", _told(url, error), "give the address of a server that the ledger can use")
        return
    (server,) = connection.execute("SELECT current_setting('server_version')").fetchone()
    yield ok("database", f"{shown(url)}: Postgres {server}")
    began = time.time()
    fsync, full_pages, most, used, may_create, their_s = connection.execute(_SETTINGS).fetchone()
    their_s -= (time.time() - began) / 2
    yield _tables(tables.version, connection, bool(may_create))
    yield durability(fsync == "on", full_pages == "on")
    yield connections(most, used)
    yield round_trip(sorted(_timed(connection) for _ in range(_TIMES))[_TIMES // 2])
    yield clock(their_s - began, "the database")


def _tables(found: Callable[[Connection], int], connection: Connection, may_create: bool) -> Finding:
    try:
        number = found(connection)
    except LedgerError as error:
        return problem("tables", str(error), "set another ledger.path, or upgrade streamrouter")
    if number:
        return ok("tables", f"a ledger, schema {number}")
    if not may_create:
        return problem("tables", "there are none, and this user may make none", "GRANT CREATE ON SCHEMA public TO it")
    return ok("tables", "they will be made at the first start")


def durability(fsync: bool, full_pages: bool) -> Finding:
    """Two settings of the server without which a commit is none."""
    off = [name for name, on in (("fsync", fsync), ("full_page_writes", full_pages)) if not on]
    if off:
        found = f"{' and '.join(off)} of the server {'is' if len(off) == 1 else 'are'} off"
        return problem("durability", f"{found}: a power cut may damage the books", "switch it on in postgresql.conf")
    return ok("durability", "a commit survives a power cut, as far as its disk keeps its word")


def connections(most: int, used: int) -> Finding:
    """``most``: what the server lets in; ``used``: how many are there."""
    found = f"{used} of {most} are in use; a process takes one, and a second one for a moment"
    remedy = "raise max_connections; a pooler must keep a session together (not PgBouncer's transaction mode)"
    if most - used < _OWN_CONNECTIONS:
        return problem("connections", found, remedy)
    return warning("connections", found, remedy) if most - used < _FEW_CONNECTIONS else ok("connections", found)


def round_trip(milliseconds: float) -> Finding:
    """How long the database takes to answer nothing; a request waits for a few of these before its first byte."""
    found = f"{milliseconds:.1f} ms to the database and back"
    remedy = "put the database in the same data centre: every request waits for some of these"
    return warning("round trip", found, remedy) if milliseconds > _SLOW_MS else ok("round trip", found)


def _timed(connection: Connection) -> float:
    began = time.perf_counter()
    connection.execute("SELECT 1")
    return (time.perf_counter() - began) * 1000
