from __future__ import annotations

import pytest

from streamrouter.ledger.postgres import boots
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.verdicts import DatabaseError, Verdict, verdict
from tests.ledger.postgres.conftest import Connect
from tests.support.postgres import Cluster


class Told:
    """What a session says about numbers that others took."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def cut(postgres: Cluster, connection: PostgresConnection) -> None:
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    with postgres.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(DatabaseError):
        connection.execute("SELECT 1")


def test_a_lost_connection_is_made_anew_under_the_same_number(another: Connect, postgres: Cluster) -> None:
    session = Session(another, Told())
    first = session.connection()
    assert session.connection() is first and session.boot == 1
    trips = session.round_trips
    cut(postgres, first)
    second = session.connection()
    assert second is not first and (session.boot, session.ours) == (1, (1,))
    assert session.round_trips > trips
    session.drop()


def test_what_is_left_of_the_connection_before_is_hung_up(another: Connect, postgres: Cluster) -> None:
    session = Session(another, Told())
    first = session.connection()
    (pid,) = first.execute("SELECT pg_backend_pid()").fetchone() or (0,)
    first.execute("BEGIN IMMEDIATE")
    first.execute("SELECT 1 FROM meta FOR UPDATE")
    first.patience_s = 0.05
    with pytest.raises(DatabaseError):
        first.execute("SELECT pg_sleep(100)")
    second = session.connection()
    second.execute("SELECT 1 FROM meta FOR UPDATE")
    assert second.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ?", (pid,)).fetchone() == (0,)
    assert session.boot == 1
    session.drop()


def test_a_number_that_others_took_is_not_used_again(another: Connect, postgres: Cluster) -> None:
    told = Told()
    session = Session(another, told)
    cut(postgres, session.connection())
    other = another()
    other.execute("UPDATE process SET pulse_ns = 0")
    boots.recover(other, (), boots.Self("", "", 0, ""), 1, 60.0)
    session.connection()
    assert session.boot == 2
    session.pulse()
    assert told.times == 2 and session.ours == (2,)
    session.leave()
    assert other.execute("SELECT pulse_ns FROM process").fetchall() == [(0,)]


def test_a_number_that_is_taken_under_ones_feet(another: Connect) -> None:
    told = Told()
    session = Session(another, told)
    session.connection()
    another().execute("DELETE FROM process")
    session.pulse()
    assert told.times == 1 and session.connected_s == 0.0
    session.connection()
    assert session.boot == 2 and session.connected_s >= 0.0
    session.drop()


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP TABLE process", "does not exist"),
        ("DROP TABLE meta CASCADE", "another program"),
        ("UPDATE meta SET value = 99 WHERE name = 'schema_version'", "newer streamrouter"),
        ("UPDATE meta SET value = 1 WHERE name = 'schema_version'", "not those of this program any more"),
    ],
)
def test_tables_that_are_no_longer_ours_are_nobodys_fault(another: Connect, statement: str, expected: str) -> None:
    broken = another()
    broken.execute(statement)
    session = Session(lambda: broken, Told())
    with pytest.raises(DatabaseError, match=expected) as told:
        session.connection()
    assert told.value.lost and broken.lost and verdict(told.value) is Verdict.TRANSIENT
    session.leave()
