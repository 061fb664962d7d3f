from __future__ import annotations

from streamrouter.ledger.days import DAY_NS
from streamrouter.ledger.postgres.calendar import Calendar
from tests.ledger.books import DAY, NOON_NS, HeldClock

HOUR_NS = 3_600_000_000_000


def calendar(clock: HeldClock, ahead_ns: int = 0) -> Calendar:
    return Calendar(clock, clock.wall_ns + ahead_ns, DAY, 0)


def test_the_clock_is_the_databases() -> None:
    clock = HeldClock()
    shared = calendar(clock, 5 * HOUR_NS)
    assert shared.now_ns == NOON_NS + 5 * HOUR_NS
    clock.pass_s(8 * 3600)
    assert shared.day == DAY + 1, "13 o'clock there, one hour after midnight here"
    shared.read(clock.wall_ns, DAY, 0)
    assert shared.now_ns == clock.wall_ns, "it follows what was read last"


def test_the_day_is_the_furthest_of_all() -> None:
    clock = HeldClock()
    shared = calendar(clock)
    assert shared.read(NOON_NS, DAY + 1, 0) == DAY + 1
    assert shared.read(NOON_NS, DAY, 0) == DAY + 1
    assert shared.alarm is None
    assert shared.read(NOON_NS, DAY + 9, 0) == DAY + 9
    assert "behind the ledger" in (shared.alarm or "")


def test_a_leap_is_not_followed_until_somebody_accepts_it_anywhere() -> None:
    clock = HeldClock()
    shared = calendar(clock)
    far = NOON_NS + 30 * DAY_NS
    assert shared.read(far, DAY, 0) == DAY
    assert "leapt 720 hours" in (shared.alarm or "")
    clock.wall_ns = far
    assert shared.read(far, DAY + 30, 1) == DAY + 30
    assert (shared.day, shared.alarm) == (DAY + 30, None)
    clock.wall_ns = NOON_NS
    assert shared.read(NOON_NS, DAY, 2) == DAY, "back again, in the other direction"


def test_the_loop_sees_an_alarm_without_a_batch() -> None:
    clock = HeldClock()
    shared = calendar(clock)
    clock.wall_ns += 30 * DAY_NS
    assert shared.day == DAY and shared.alarm
