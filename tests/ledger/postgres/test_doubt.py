from __future__ import annotations

import threading

import pytest

from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.doubt import Doubt, Fate, fate
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.records import HoldRow
from streamrouter.ledger.verdicts import DatabaseError
from tests.ledger.postgres.conftest import Connect

FUTURE = str(1 << 40)


@pytest.fixture
def session(another: Connect) -> Session:
    return Session(another, lambda: None)


def begun(connection: PostgresConnection) -> Doubt:
    """A transaction that has changed something; what would be asked about it."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE meta SET value = 7 WHERE name = 'last_day'")
    (number,) = connection.execute("SELECT pg_current_xact_id()::text").fetchone() or ("",)
    return Doubt(number, ())


@pytest.mark.parametrize(("end", "expected"), [("COMMIT", Fate.COMMITTED), ("ROLLBACK", Fate.ABORTED)])
def test_the_server_knows(session: Session, another: Connect, end: str, expected: Fate) -> None:
    other = another()
    doubt = begun(other)
    other.execute(end)
    assert fate(session, doubt, 0.0) is expected
    session.drop()


def test_what_is_not_over_is_waited_for(session: Session, another: Connect) -> None:
    other = another()
    doubt = begun(other)
    with pytest.raises(DatabaseError, match="not ended") as told:
        fate(session, doubt, 0.0)
    assert told.value.lost
    ending = threading.Timer(0.1, other.execute, args=("COMMIT",))
    ending.start()
    assert fate(session, doubt, 10.0) is Fate.COMMITTED
    ending.join()
    session.drop()


def test_a_server_that_never_heard_of_it_is_asked_for_a_hold(session: Session, connection: PostgresConnection) -> None:
    row = HoldRow(
        id="req_1",
        account_id="acct_1",
        key_id="key_1",
        surface="main",
        model="m",
        day=1,
        boot=1,
        r_input=1,
        r_output=1,
    )
    assert fate(session, Doubt(FUTURE, [row]), 0.0) is Fate.FORGOTTEN
    connection.execute(
        "INSERT INTO hold (id, account_id, key_id, surface, model, day, boot, prepaid, stream, exact, r_input,"
        " r_output, r_usd, lease_output, price_input, price_output, price_cache_read, created_ns)"
        " VALUES ('req_1', 'acct_1', 'key_1', 'main', 'm', 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1)"
    )
    assert fate(session, Doubt(FUTURE, [row]), 0.0) is Fate.COMMITTED
    session.drop()


def test_nobody_to_ask() -> None:
    def nobody() -> PostgresConnection:
        raise DatabaseError("nobody there", lost=True)

    with pytest.raises(DatabaseError, match="nobody there"):
        fate(Session(nobody, lambda: None), Doubt("1", ()), 0.1)
