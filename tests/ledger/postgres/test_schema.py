from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger.postgres import boots, schema
from streamrouter.ledger.postgres.connection import PostgresConnection, connect
from streamrouter.ledger.schema import VERSION, meta, set_meta
from streamrouter.ledger.verdicts import DatabaseError
from tests.support.postgres import Cluster


@pytest.fixture
def connection(database: str) -> Iterator[PostgresConnection]:
    with closing(connect(database)) as made:
        yield made


def test_many_may_start_at_once(database: str) -> None:
    failed: list[Exception] = []

    def start() -> None:
        try:
            with closing(connect(database)) as each:
                schema.prepare(each, 0)
        except (DatabaseError, LedgerError) as error:
            failed.append(error)

    starting = [threading.Thread(target=start) for _ in range(6)]
    for each in starting:
        each.start()
    for each in starting:
        each.join()
    assert failed == []
    with closing(connect(database)) as raw:
        assert meta(raw, "schema_version") == VERSION
        assert raw.execute("SELECT count(*) FROM audit").fetchone() == (0,)


def test_an_older_one_is_brought_up_to_date_and_says_so(connection: PostgresConnection) -> None:
    schema.prepare(connection, 0)
    # As the version before left it: its last step, undone.
    connection.execute("DROP TABLE rollup_minute")
    connection.execute(
        "CREATE TABLE rollup_minute (minute bigint PRIMARY KEY, requests bigint, errors bigint, input_tokens bigint,"
        " output_tokens bigint, cost bigint, active bigint, ttft text, gap text)"
    )
    connection.execute("INSERT INTO rollup_minute VALUES (7, 1, 0, 2, 3, 4, 5, '{}', '{}')")
    set_meta(connection, "schema_version", 5)
    schema.prepare(connection, 42)
    assert meta(connection, "schema_version") == VERSION
    assert connection.execute("SELECT minute, boot, cost FROM rollup_minute").fetchall() == [(7, 0, 4)]
    assert connection.execute("SELECT at_ns, action, subject FROM audit").fetchone() == (42, "migrated", "6")


def test_tables_are_not_changed_while_others_use_them(connection: PostgresConnection, database: str) -> None:
    schema.prepare(connection, 0)
    with closing(connect(database)) as other:
        boots.enter(other, boots.myself())
        set_meta(connection, "schema_version", VERSION - 1)
        with pytest.raises(LedgerError, match="1 processes of an older streamrouter"):
            schema.prepare(connection, 0)


def test_a_newer_one_is_refused(connection: PostgresConnection) -> None:
    schema.prepare(connection, 0)
    set_meta(connection, "schema_version", VERSION + 1)
    with pytest.raises(LedgerError, match="newer streamrouter"):
        schema.prepare(connection, 0)
    assert not connection.in_transaction


@pytest.mark.parametrize(
    "tables",
    [
        ["CREATE TABLE account (id int)"],
        [f"CREATE TABLE {name} (name text, value int)" for name in ("meta", "account", "api_key", "usage_day")]
        + [f"CREATE TABLE {name} (id int)" for name in ("usage_model", "hold", "entry", "audit")],
    ],
)
def test_tables_of_another_program_are_left_alone(connection: PostgresConnection, tables: list[str]) -> None:
    for statement in tables:
        connection.execute(statement)
    with pytest.raises(LedgerError, match=r"of another program .*account"):
        schema.prepare(connection, 0)


def test_a_right_that_is_missing_is_named(postgres: Cluster, database: str) -> None:
    with postgres.connect(database) as owner:
        owner.execute("DROP ROLE IF EXISTS poor")
        owner.execute("CREATE ROLE poor")
        owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with closing(connect(database)) as connection:
        connection.execute("SET ROLE poor")
        with pytest.raises(LedgerError, match="CREATE in the schema"):
            schema.prepare(connection, 0)


def test_an_encoding_that_loses_texts_is_refused(postgres: Cluster, database: str) -> None:
    with postgres.connect() as admin:
        admin.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    url = postgres.url("plain")
    try:
        with closing(connect(url)) as connection, pytest.raises(LedgerError, match="ENCODING 'UTF8'"):
            schema.prepare(connection, 0)
    finally:
        postgres.drop(url)


@pytest.mark.parametrize("statement", ["UPDATE audit SET at_ns = 3", "DELETE FROM audit"])
def test_the_audit_log_is_append_only(connection: PostgresConnection, statement: str) -> None:
    schema.prepare(connection, 0)
    connection.execute("INSERT INTO audit (at_ns, action, subject, detail) VALUES (1, 'a', 'b', '{}')")
    with pytest.raises(DatabaseError, match="append-only"):
        connection.execute(statement)
