from __future__ import annotations

from streamrouter.ledger.days import DAY_NS, Days, iso
from tests.ledger.books import DAY, NOON_NS

HOUR_NS = 3_600_000_000_000


def test_the_day_is_utc_and_follows_the_clock() -> None:
    days = Days(0, NOON_NS, 0.0)
    assert days.at(NOON_NS + 12 * HOUR_NS - 1, 43_199.9) == DAY
    assert days.at(NOON_NS + 12 * HOUR_NS, 43_200.0) == DAY + 1
    assert iso(DAY) == "2024-10-04"


def test_the_day_never_goes_back() -> None:
    days = Days(0, NOON_NS, 0.0)
    assert days.at(NOON_NS + DAY_NS, 86_400.0) == DAY + 1
    assert days.at(NOON_NS + DAY_NS - 13 * HOUR_NS, 86_401.0) == DAY + 1
    assert days.alarm is None


def test_a_step_of_a_day_moves_the_day_once() -> None:
    days = Days(0, NOON_NS, 0.0)
    assert days.at(NOON_NS + DAY_NS, 1.0) == DAY + 1
    assert days.at(NOON_NS, 2.0) == DAY + 1
    assert days.at(NOON_NS + DAY_NS, 86_400.0) == DAY + 1
    assert days.alarm is None


def test_a_leap_keeps_the_day_and_alarms_until_the_clock_is_right_again() -> None:
    days = Days(DAY, NOON_NS, 0.0)
    assert days.at(NOON_NS + 30 * DAY_NS, 1.0) == DAY
    assert days.alarm is not None and "719 hours ahead" in days.alarm and "day --accept" in days.alarm
    assert days.at(NOON_NS + HOUR_NS, 3600.0) == DAY
    assert days.alarm is None


def test_a_suspended_machine_is_no_leap() -> None:
    days = Days(DAY, NOON_NS, 0.0)
    assert days.at(NOON_NS + 30 * DAY_NS, 30 * 86_400.0) == DAY + 30
    assert days.alarm is None


def test_a_clock_far_behind_the_ledger_alarms() -> None:
    days = Days(DAY + 2, NOON_NS, 0.0)
    assert days.at(NOON_NS, 1.0) == DAY + 2
    assert days.alarm is not None and "behind" in days.alarm


def test_accepting_takes_the_date_in_both_directions() -> None:
    days = Days(DAY, NOON_NS, 0.0)
    ahead = NOON_NS + 30 * DAY_NS
    days.at(ahead, 1.0)
    assert days.accept(ahead, 1.0) == days.at(ahead, 2.0) == DAY + 30
    assert days.alarm is None
    days.at(NOON_NS, 3.0)
    assert days.accept(NOON_NS, 3.0) == days.at(NOON_NS, 4.0) == DAY
    assert days.alarm is None
