from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing

import psycopg.sql
import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger.postgres.connection import PostgresConnection, connect
from streamrouter.ledger.verdicts import DatabaseError, Verdict, verdict
from tests.support.ports import free_ports
from tests.support.postgres import PASSWORD, Cluster


@pytest.fixture
def connection(ledger_url: str) -> Iterator[PostgresConnection]:
    with closing(connect(ledger_url, durable=False)) as made:
        made.execute("CREATE TEMP TABLE t (a bigint CHECK (a < 1000000), b text)")
        yield made


def test_values_come_back_as_they_went(connection: PostgresConnection) -> None:
    row = (1, -(1 << 62), "é'\\\"", b"\0\xff", 1.5, True, None)
    sent = connection.execute("SELECT ?, ?, ?, ?, ?, ?, CAST(? AS TEXT)", row)
    assert sent.fetchall() == [(1, -(1 << 62), "é'\\\"", b"\0\xff", 1.5, 1, None)]
    sums = connection.execute("SELECT sum(x), sum(x) / 2.0, count(*), true FROM (VALUES (1), (2)) AS v (x)")
    assert sums.fetchone() == (3, 1.5, 2, 1)


def test_rows_are_fetched_as_from_any_cursor(connection: PostgresConnection) -> None:
    cursor = connection.execute("SELECT n, n * 2 AS twice FROM generate_series(1, 5) AS n")
    assert [column[0] for column in cursor.description or ()] == ["n", "twice"]
    assert cursor.fetchone() == (1, 2)
    assert cursor.fetchmany(2) == [(2, 4), (3, 6)]
    assert list(cursor) == [(4, 8), (5, 10)]
    assert cursor.fetchone() is None


def test_changes_are_counted(connection: PostgresConnection) -> None:
    before, trips = connection.total_changes, connection.round_trips
    assert connection.executemany("INSERT INTO t (a) VALUES (?)", [(n,) for n in range(3000)]).rowcount == 3000
    assert connection.execute("UPDATE t SET b = ? WHERE a < ?", ("x", 10)).rowcount == 10
    assert connection.total_changes - before == 3010
    assert connection.round_trips - trips == 2
    assert connection.executemany("DELETE FROM t WHERE a = ?", []).rowcount == 0


def test_much_goes_both_ways_at_once(connection: PostgresConnection) -> None:
    text = "x" * 200_000
    results = connection.exchange([("SELECT ?", (text,))] * 50)
    assert all(result.fetchall() == [(text,)] for result in results)


def test_the_first_error_of_a_round_trip_is_raised_and_nothing_behind_it_is_done(
    connection: PostgresConnection,
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    insert = "INSERT INTO t (a) VALUES (?)"
    with pytest.raises(DatabaseError) as told:
        connection.exchange([(insert, (1,)), ("SELECT 1 / ?", (0,)), (insert, (2,)), ("SELECT 77", ())])
    assert (told.value.sqlstate, told.value.lost) == ("22012", False)
    inside = [connection.in_transaction]
    connection.execute("ROLLBACK")
    assert [*inside, connection.in_transaction] == [True, False]
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert connection.execute("SELECT 77").fetchone() == (77,), "what was not prepared because of it is prepared now"
    assert connection.execute("SELECT 1 / ?", (1,)).fetchone() == (1,)


def test_what_cannot_be_sent_leaves_no_trace(connection: PostgresConnection) -> None:
    with pytest.raises(ValueError, match="NUL"):
        connection.exchange([("INSERT INTO t (a) VALUES (?)", (1,)), ("SELECT ?", ("a\0b",))])
    with pytest.raises(TypeError, match="keeps no list"):
        connection.execute("SELECT ?", ([],))
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_constraint_is_the_fault_of_its_operation(connection: PostgresConnection) -> None:
    with pytest.raises(DatabaseError) as told:
        connection.execute("INSERT INTO t (a) VALUES (?)", (1_000_000,))
    assert verdict(told.value) is Verdict.FAULT


def test_a_connection_that_is_cut_is_lost(connection: PostgresConnection, postgres: Cluster) -> None:
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    with postgres.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    for _ in range(2):
        with pytest.raises(DatabaseError) as told:
            connection.execute("SELECT 1")
        assert told.value.lost and verdict(told.value) is Verdict.TRANSIENT
    assert connection.lost and not connection.in_transaction


def test_a_server_that_says_nothing_is_not_waited_for(connection: PostgresConnection) -> None:
    connection.patience_s = 0.05
    with pytest.raises(DatabaseError, match="no answer") as told:
        connection.execute("SELECT pg_sleep(60)")
    assert told.value.lost and connection.lost


async def test_whoever_waits_leaves_the_interpreter_to_the_others(ledger_url: str) -> None:
    with closing(connect(ledger_url)) as holder, closing(connect(ledger_url)) as waiter:
        holder.execute("SELECT pg_advisory_lock(7)")
        waiting = threading.Thread(target=waiter.execute, args=("SELECT pg_advisory_lock(7)",))
        waiting.start()
        for _ in range(100):
            await asyncio.sleep(0)
        assert waiting.is_alive()
        holder.execute("SELECT pg_advisory_unlock(7)")
        waiting.join(5)
        assert not waiting.is_alive()


def test_nobody_there() -> None:
    with pytest.raises(DatabaseError) as told:
        connect(f"postgresql://u:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/x")
    assert told.value.lost and PASSWORD not in str(told.value)


def test_a_url_that_cannot_be_understood_does_not_tell_its_password() -> None:
    with pytest.raises(LedgerError) as told:
        connect(f"postgresql://u:{PASSWORD}@127.0.0.1:1/x?no_such_option=1")
    assert PASSWORD not in str(told.value) and "cannot be understood" in str(told.value)


def test_a_wrong_password_is_said_without_it(postgres: Cluster, ledger_url: str) -> None:
    with pytest.raises(DatabaseError) as told:
        connect(ledger_url.replace(PASSWORD, "wrong-" + PASSWORD))
    assert "password authentication failed" in str(told.value) and PASSWORD not in str(told.value)


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_how_durable_a_commit_is(ledger_url: str, durable: bool, expected: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as other:
        name = psycopg.sql.Identifier(other.info.dbname)
        other.execute(psycopg.sql.SQL("ALTER DATABASE {} SET synchronous_commit = local").format(name))
    with closing(connect(ledger_url, durable=durable)) as made:
        assert made.execute("SELECT current_setting('synchronous_commit')").fetchone() == (expected,)
