from __future__ import annotations

import threading

import pytest

from streamrouter.ledger.postgres import boots, statements
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.doubt import Doubt, Fate, fate
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.verdicts import DatabaseError
from tests.ledger.postgres.conftest import Connect


@pytest.fixture
def session(another: Connect) -> Session:
    made = Session(another, lambda: None)
    made.connection()
    return made


def begun(connection: PostgresConnection, number: int) -> Doubt:
    """A transaction of a process of its own; what would be asked about it."""
    boot = boots.enter(connection, boots.myself())
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(statements.WITNESS, (number, boot))
    return Doubt(boot, number)


@pytest.mark.parametrize(("end", "expected"), [("COMMIT", Fate.COMMITTED), ("ROLLBACK", Fate.ABORTED)])
def test_what_is_over_is_known(session: Session, another: Connect, end: str, expected: Fate) -> None:
    other = another()
    doubt = begun(other, 7)
    other.execute(end)
    other.execute("SELECT pg_advisory_unlock_all()")
    assert fate(session, doubt, 0.0) is expected
    session.drop()


def test_what_may_go_on_still_is_waited_for(session: Session, another: Connect) -> None:
    other = another()
    doubt = begun(other, 7)
    with pytest.raises(DatabaseError, match="not ended") as told:
        fate(session, doubt, 0.0)
    assert told.value.lost

    def end() -> None:
        other.execute("COMMIT")
        other.execute("SELECT pg_advisory_unlock_all()")

    ending = threading.Timer(0.1, end)
    ending.start()
    assert fate(session, doubt, 10.0) is Fate.COMMITTED
    ending.join()
    session.drop()


def test_ones_own_connection_that_is_back_needs_no_other_sign(session: Session) -> None:
    connection = session.connection()
    connection.execute(statements.WITNESS, (3, session.boot))
    assert fate(session, Doubt(session.boot, 3), 0.0) is Fate.COMMITTED
    assert fate(session, Doubt(session.boot, 4), 0.0) is Fate.ABORTED
    session.drop()


def test_a_process_that_was_taken_for_dead_cannot_know(session: Session, another: Connect) -> None:
    other = another()
    doubt = begun(other, 7)
    other.execute("COMMIT")
    boots.leave(other, [doubt.boot])
    other.execute("SELECT pg_advisory_unlock_all()")
    boots.recover(another(), session.ours, boots.myself(), 1, 0.0)
    assert fate(session, doubt, 0.0) is Fate.FORGOTTEN
    session.drop()


def test_nobody_to_ask() -> None:
    def nobody() -> PostgresConnection:
        raise DatabaseError("nobody there", lost=True)

    with pytest.raises(DatabaseError, match="nobody there"):
        fate(Session(nobody, lambda: None), Doubt(1, 1), 0.1)
