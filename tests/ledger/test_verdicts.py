from __future__ import annotations

import sqlite3

import pytest

from streamrouter.ledger.verdicts import DATABASE_ERRORS, DatabaseError, Verdict, told, verdict


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40001", Verdict.TRANSIENT),
        ("40P01", Verdict.TRANSIENT),
        ("55P03", Verdict.TRANSIENT),
        ("57014", Verdict.TRANSIENT),
        ("57P01", Verdict.TRANSIENT),
        ("53100", Verdict.TRANSIENT),
        ("08006", Verdict.TRANSIENT),
        ("25006", Verdict.TRANSIENT),
        ("42501", Verdict.TRANSIENT),
        ("XX000", Verdict.TRANSIENT),
        ("22003", Verdict.FAULT),
        ("23505", Verdict.FAULT),
        ("42601", Verdict.FAULT),
        ("P0001", Verdict.FAULT),
        ("XX001", Verdict.FATAL),
        ("XX002", Verdict.FATAL),
    ],
)
def test_what_an_error_of_postgres_says(sqlstate: str, expected: Verdict) -> None:
    assert verdict(DatabaseError("told", sqlstate)) is expected


def test_a_connection_that_is_gone_says_nothing_of_the_operation() -> None:
    assert verdict(DatabaseError("told", lost=True)) is Verdict.TRANSIENT
    assert verdict(DatabaseError("told", "22003", lost=True)) is Verdict.TRANSIENT


def test_an_error_of_neither_is_the_operations() -> None:
    assert verdict(ValueError("x")) is Verdict.FAULT
    assert verdict(sqlite3.ProgrammingError("closed")) is Verdict.FAULT


def test_both_are_caught_by_those_who_go_on_without_an_answer() -> None:
    for error in (sqlite3.OperationalError("x"), DatabaseError("x")):
        assert isinstance(error, DATABASE_ERRORS)


def test_what_anybody_may_see_names_no_host() -> None:
    lost = DatabaseError('connection to server at "db.internal" (10.0.0.5), port 5432 failed', lost=True)
    assert told(lost) == ("the ledger's database", "it does not answer")
    assert told(DatabaseError("canceling statement", "57014")) == ("the ledger's database", "it says 57014")
    assert told(sqlite3.OperationalError("disk I/O error")) == ("the ledger's file", "disk I/O error")
