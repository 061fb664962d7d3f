from __future__ import annotations

import os
import subprocess
import sys

import pytest
from msgspec.structs import replace

from streamrouter.ledger import rules
from streamrouter.ledger.postgres import boots
from streamrouter.ledger.postgres.book import SharedBook
from streamrouter.ledger.postgres.boots import Self, myself
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.schema import BOOTS, LOCK, LOCKS, RECOVERY
from tests.ledger.books import DAY, NOON_NS, command, moment
from tests.ledger.postgres.conftest import Connect

LONG_S = 60.0
ELSEWHERE = Self("elsewhere", "another machine", 1, "0")


def open_hold(connection: PostgresConnection, boot: int) -> None:
    book = SharedBook(connection)
    rules.reserve(book, command(id=f"req_{boot}"), replace(moment(), boot=boot))
    book.write()


def states(connection: PostgresConnection) -> list[str]:
    return [state for (state,) in connection.execute("SELECT state FROM hold ORDER BY id")]


def silence(connection: PostgresConnection) -> None:
    connection.execute("UPDATE process SET pulse_ns = pulse_ns - 20000000000")


def recover(connection: PostgresConnection, connected_s: float = LONG_S, me: Self = ELSEWHERE) -> int:
    return boots.recover(connection, (), me, NOON_NS, connected_s)


def test_each_process_has_a_number_of_its_own(another: Connect) -> None:
    found = [boots.enter(another(), myself()) for _ in range(3)]
    assert found == [1, 2, 3]


def test_a_number_is_taken_again_unless_somebody_has_it(another: Connect) -> None:
    first, second = another(), another()
    boot = boots.enter(first, myself())
    assert not boots.enter_again(second, boot), "the old connection is still there"
    first.close()
    third = another()
    third.execute(f"SELECT pg_advisory_lock{LOCK}", (BOOTS, boot))
    third.execute(f"SELECT pg_advisory_unlock{LOCK}", (BOOTS, boot))
    assert boots.enter_again(second, boot)
    assert not boots.enter_again(second, 99), "nobody had it"


def test_a_process_that_has_left_is_recovered_at_once(connection: PostgresConnection, another: Connect) -> None:
    left = another()
    open_hold(connection, boots.enter(left, myself()))
    boots.leave(left, [1])
    assert recover(connection) == 0, "its lock is still there"
    left.execute("SELECT pg_advisory_unlock_all()")
    assert recover(connection, connected_s=0.0) == 1
    assert states(connection) == ["recovered"]
    assert connection.execute("SELECT reserved_output, posted_output FROM usage_day").fetchall() == [(0, 256)]
    assert connection.execute("SELECT count(*) FROM process").fetchone() == (0,)
    assert recover(connection) == 0


def test_a_process_that_is_gone_from_this_machine_is_recovered_at_once(
    connection: PostgresConnection, another: Connect
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = another()
    open_hold(connection, boots.enter(dead, replace(myself(), pid=gone.pid)))
    dead.execute("SELECT pg_advisory_unlock_all()")
    assert recover(connection, 0.0) == 0, "from another machine nobody can tell"
    assert recover(connection, 0.0, myself()) == 1


@pytest.mark.skipif(not myself().home, reason="this system does not tell where a pid means something")
def test_a_process_that_lives_on_this_machine_is_left_alone(connection: PostgresConnection, another: Connect) -> None:
    alive = another()
    open_hold(connection, boots.enter(alive, replace(myself(), pid=os.getppid())))
    alive.execute("SELECT pg_advisory_unlock_all()")
    assert recover(connection, 0.0, myself()) == 0


def test_a_pulse_that_has_stopped_says_something_to_those_who_were_there_meanwhile(
    connection: PostgresConnection, another: Connect
) -> None:
    dead, alive = another(), another()
    for each in (dead, alive):
        open_hold(connection, boots.enter(each, myself()))
    silence(connection)
    dead.execute("SELECT pg_advisory_unlock_all()")
    assert recover(connection, connected_s=1.0) == 0, "the server may have been away"
    assert recover(connection) == 1, "the other one's lock says that it lives, however slow it is"
    assert states(connection) == ["recovered", "open"]


def test_a_pulse_keeps_alive_and_tells_who_was_taken_for_dead(connection: PostgresConnection, another: Connect) -> None:
    mine = another()
    first, second = boots.enter(mine, myself()), boots.enter(mine, myself())
    silence(connection)
    mine.execute("SELECT pg_advisory_unlock_all()")
    assert boots.pulse(mine, [first]) == [first]
    recover(connection)
    assert boots.pulse(mine, [first, second]) == [first]


def test_only_one_recovers(connection: PostgresConnection, another: Connect) -> None:
    left, other = another(), another()
    open_hold(connection, boots.enter(left, myself()))
    boots.leave(left, [1])
    left.execute("SELECT pg_advisory_unlock_all()")
    other.execute("BEGIN IMMEDIATE")
    other.execute(f"SELECT pg_advisory_xact_lock{LOCK}", (LOCKS, RECOVERY))
    assert recover(connection) == 0
    other.execute("ROLLBACK")
    assert recover(connection) == 1
    assert connection.execute("SELECT s_output, day FROM hold").fetchall() == [(256, DAY)]


def test_ones_own_number_is_never_dead(connection: PostgresConnection) -> None:
    boot = boots.enter(connection, myself())
    silence(connection)
    assert boots.recover(connection, (boot,), ELSEWHERE, NOON_NS, LONG_S) == 0
    assert connection.execute("SELECT count(*) FROM process").fetchone() == (1,)
