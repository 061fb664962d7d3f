from __future__ import annotations

from typing import Any

import pytest

from streamrouter.errors import Refusal
from streamrouter.ledger import reads
from streamrouter.ledger.engine import Failed
from streamrouter.ledger.postgres.calendar import Calendar
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.engine import PostgresEngine
from streamrouter.ledger.postgres.news import News
from streamrouter.ledger.postgres.schema import ADMIN, LOCK, LOCKS
from streamrouter.ledger.records import Hold
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.verdicts import DatabaseError
from tests.ledger.books import DAY, NOON_NS, account, finished, key
from tests.ledger.postgres.conftest import Connect
from tests.ledger.postgres.engines import Act, Plain, Question, Rig, adds, raises
from tests.support.postgres import Cluster

UNDONE = ("account", "api_key", "usage_day", "usage_model", "hold")


@pytest.fixture
def rig(connection: PostgresConnection, another: Connect) -> Rig:
    return Rig(another)


def test_a_batch_of_requests_is_two_round_trips(rig: Rig) -> None:
    rig.run(Plain("req_0"))
    trips = rig.session.round_trips
    outcomes = rig.run(*(Plain(f"req_{n}") for n in range(1, 9)), Plain("req_0", finished()))
    assert rig.session.round_trips - trips == 2
    assert all(isinstance(outcome, Hold) for outcome in outcomes[:8])
    assert rig.holds() == {"req_0": "settled", **{f"req_{n}": "open" for n in range(1, 9)}}


def test_operations_are_carried_out_in_order_whatever_they_are(rig: Rig) -> None:
    many = Question(lambda book: len(reads.accounts(book.connection)))
    holds = Question(lambda book: book.connection.execute("SELECT count(*) FROM hold").fetchone()[0])
    outcomes = rig.run(many, adds(1), many, Plain("req_1"), holds, adds(2), adds(3), many)
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1, 2, 1, 4]


def test_a_question_has_one_view_and_cannot_change_anything(rig: Rig, another: Connect) -> None:
    other = another()

    def twice(book: SqliteBook) -> tuple[list[str], list[str]]:
        before = [each.name for each in reads.accounts(book.connection)]
        other.execute("UPDATE account SET name = 'z'")
        return before, [each.name for each in reads.accounts(book.connection)]

    writes = Question(lambda book: book.connection.execute("DELETE FROM entry"))
    (seen,) = rig.run(Question(twice))
    (failed,) = rig.run(writes)
    assert seen == (["team-a"], ["team-a"])
    assert isinstance(failed, Failed) and isinstance(failed.error, TypeError)


def test_one_wrong_operation_does_not_take_the_others_with_it(rig: Rig) -> None:
    broken = Act(lambda book: book.add_account(account(id="acct_b", name="b", spent=1)))
    outcomes = rig.run(adds(1), raises(KeyError("a bug")), adds(2), broken, Plain("req_1"), Plain("req_x", finished()))
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, False, True, False, True]
    assert rig.holds() == {"req_1": "open"}
    names = rig.run(Question(lambda book: [each.name for each in reads.accounts(book.connection)]))
    assert names == [["n1", "n2", "team-a"]]


def test_an_act_is_alone_however_many_processes_there_are(rig: Rig, another: Connect) -> None:
    other = another()

    def locked(book: SqliteBook) -> bool:
        (got,) = other.execute(f"SELECT pg_try_advisory_lock{LOCK}", (LOCKS, ADMIN)).fetchone() or (1,)
        return not got

    assert rig.run(Act(locked)) == [True]


def test_an_act_that_stands_behind_another_for_too_long_is_refused_alone(rig: Rig, another: Connect) -> None:
    other = another()
    other.execute("BEGIN IMMEDIATE")
    other.execute(f"SELECT pg_advisory_xact_lock{LOCK}", (LOCKS, ADMIN))
    before, refused, after = rig.run(Plain("req_1"), adds(1), Plain("req_2"))
    assert isinstance(before, Hold) and isinstance(after, Hold)
    assert isinstance(refused, Failed) and isinstance(refused.error, Refusal)
    assert refused.error.code == "ledger_unavailable"


def test_an_account_that_others_keep_is_waited_for_and_then_nothing_has_happened(rig: Rig, another: Connect) -> None:
    other = another()
    other.execute("BEGIN IMMEDIATE")
    other.execute("SELECT 1 FROM account FOR NO KEY UPDATE")
    with pytest.raises(DatabaseError) as told:
        rig.run(Plain("req_1"))
    assert (told.value.sqlstate, told.value.lost) == ("55P03", False)
    other.execute("ROLLBACK")
    assert isinstance(rig.run(Plain("req_1"))[0], Hold)


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_commit_without_an_answer_happens_once(rig: Rig, how: str) -> None:
    rig.run()
    rig.how[:] = [how]
    (hold,) = rig.run(Plain("req_1"))
    assert isinstance(hold, Hold)
    rig.how[:] = [how]
    (settled,) = rig.run(Plain("req_1", finished()))
    assert settled.output_tokens == 200
    rig.how[:] = [how]
    rig.run(adds(1))
    assert rig.holds() == {"req_1": "settled"}
    names = rig.run(Question(lambda book: [each.name for each in reads.accounts(book.connection)]))
    assert names == [["n1", "team-a"]]
    assert rig.run(Question(lambda book: reads.usage(book.connection, "team-a", DAY).spent)) == [settled.cost]


def test_what_was_admitted_in_doubt_is_released(rig: Rig) -> None:
    rig.run(Plain("req_0"))
    rig.how[:] = ["after"]
    rig.away = True
    with pytest.raises(DatabaseError, match="nobody there"):
        rig.run(Plain("req_1"), Plain("req_0", finished()))
    with pytest.raises(DatabaseError, match="nobody there"):
        rig.run()
    assert rig.holds() == {"req_0": "settled", "req_1": "open"}
    rig.away = False
    rig.how[:] = ["before", "after"]  # even that release is cut twice
    assert rig.run(Plain("req_0", finished()))[0].output_tokens == 200, "asked again, it was done already"
    assert rig.holds() == {"req_0": "settled", "req_1": "released"}


def test_what_was_in_doubt_and_did_not_happen_is_done_again_by_whoever_asks(rig: Rig) -> None:
    rig.run()
    rig.how[:] = ["before"]
    rig.away = True
    with pytest.raises(DatabaseError):
        rig.run(Plain("req_1"))
    rig.away = False
    assert isinstance(rig.run(Plain("req_1"))[0], Hold)
    assert rig.holds() == {"req_1": "open"}


def test_what_is_done_keeps_its_outcome_when_the_server_goes_away(rig: Rig) -> None:
    def goes(book: SqliteBook) -> None:
        rig.away = True
        raise DatabaseError("gone", lost=True)

    outcomes = rig.run(adds(1), Act(goes), adds(2))
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, True]
    rig.away = False
    names = rig.run(Question(lambda book: [each.name for each in reads.accounts(book.connection)]))
    assert names == [["n1", "team-a"]]


def test_a_hold_that_others_closed_is_read_again(rig: Rig, another: Connect) -> None:
    rig.run(Plain("req_1"), Plain("req_2"))
    other = another()
    other.execute("UPDATE hold SET state = 'recovered', s_input = 7, closed_ns = 1 WHERE id = 'req_1'")
    other.execute("UPDATE api_key SET in_flight = 1")
    other.execute("UPDATE account SET reserved = (SELECT r_usd FROM hold WHERE id = 'req_2')")
    other.execute("UPDATE usage_day SET reserved_input = 100, reserved_output = 500")
    gone, settled = rig.run(Plain("req_1", finished()), Plain("req_2", finished()))
    assert (gone.input_tokens, settled.input_tokens) == (7, 100)
    assert rig.holds() == {"req_1": "recovered", "req_2": "settled"}


@pytest.mark.parametrize("operation", [Plain("req_1"), Question(lambda book: 1), adds(1)])
def test_a_connection_that_was_cut_while_nobody_looked_costs_nobody_an_answer(
    rig: Rig, postgres: Cluster, operation: Any
) -> None:
    rig.run()
    (pid,) = rig.session.connection().execute("SELECT pg_backend_pid()").fetchone() or (0,)
    with postgres.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    (outcome,) = rig.run(operation)
    assert not isinstance(outcome, Failed)


def test_an_act_whose_row_is_gone_is_not_done_again(rig: Rig, another: Connect) -> None:
    rig.run()
    other = another()

    def act(book: SqliteBook) -> None:
        book.add_account(account(id="acct_n1", name="n1"))
        other.execute("DELETE FROM process")
        rig.how[:] = ["after"]

    with pytest.raises(DatabaseError, match="no answer") as told:
        rig.run(Act(act))
    assert told.value.lost
    names = rig.run(Question(lambda book: [each.name for each in reads.accounts(book.connection)]))
    assert names == [["n1", "team-a"]], "whoever asked was told that it is not known"


def test_what_a_crash_of_the_server_undid_is_done_again(
    rig: Rig, another: Connect, connection: PostgresConnection
) -> None:
    calendar = Calendar(rig.clock, NOON_NS, 0, 0)
    engine = PostgresEngine(rig.session, calendar, News(0), lease_tokens=256, patience_s=0.2, durable=False)
    engine.run([Plain("req_1"), Plain("req_2")])  # type: ignore[list-item]
    before = {table: connection.execute(f"TABLE {table}").fetchall() for table in UNDONE}
    (settled,) = engine.run([Plain("req_1", finished())]).outcomes  # type: ignore[list-item]
    # What was committed last is not there any more: the tables as they were before, and another run of the server.
    connection.execute("ALTER TABLE hold DISABLE TRIGGER USER")
    for table in reversed(UNDONE):
        connection.execute(f"TRUNCATE {table} CASCADE")
    for table, rows in before.items():
        marks = ", ".join("?" * len(rows[0])) if rows else ""
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - a name of ours
    connection.execute("ALTER TABLE hold ENABLE TRIGGER USER")
    rig.session.server = "another run"
    engine.run([])
    assert rig.holds() == {"req_1": "settled", "req_2": "open"}
    assert connection.execute("SELECT spent FROM account").fetchall() == [(settled.cost,)]
    assert engine.run([Plain("req_2", finished())]).outcomes[0].output_tokens == 200  # type: ignore[list-item]


def test_an_empty_batch_finds_out_whether_there_is_a_server(rig: Rig) -> None:
    assert rig.run() == []
    rig.away = True
    rig.session.drop()
    with pytest.raises(DatabaseError):
        rig.run()


def test_those_who_lock_each_other_out_begin_again(rig: Rig, another: Connect) -> None:
    tries = []

    def deadlocked(book: SqliteBook) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise DatabaseError("deadlock detected", "40P01")
        return len(tries)

    assert rig.run(Act(deadlocked)) == [3]


def test_requests_of_two_processes_on_one_account_take_turns(connection: PostgresConnection, another: Connect) -> None:
    connection.execute("UPDATE account SET daily_output = 1500")
    rigs = [Rig(another), Rig(another)]
    outcomes = [rigs[n % 2].run(Plain(f"req_{n}"))[0] for n in range(6)]
    admitted = [outcome for outcome in outcomes if isinstance(outcome, Hold)]
    assert [hold.limit for hold in admitted] == [500, 500, 500]


def test_a_new_day_is_written_once(rig: Rig, connection: PostgresConnection) -> None:
    rig.run(Plain("req_1"))
    (day,) = connection.execute("SELECT value FROM meta WHERE name = 'last_day'").fetchone() or (0,)
    assert rig.run(Question(lambda book: 1)) == [1]
    assert connection.execute("SELECT day FROM hold").fetchall() == [(day,)]


def test_keys_of_two_accounts_are_locked_in_one_order(connection: PostgresConnection, another: Connect) -> None:
    for number in (2, 3):
        rig = Rig(another)
        rig.run(Act(lambda book, n=number: book.add_account(account(id=f"acct_{n}", name=f"n{n}", credited=10**9))))  # type: ignore[misc]
        rig.run(Act(lambda book, n=number: book.add_key(key(id=f"key_{n}", account_id=f"acct_{n}", hash=b"%d" % n))))  # type: ignore[misc]
    rig = Rig(another)
    outcomes = rig.run(Plain("a", key_id="key_3"), Plain("b", key_id="key_2"), Plain("c"))
    assert [outcome.account_id for outcome in outcomes] == ["acct_3", "acct_2", "acct_1"]
