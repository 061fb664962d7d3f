from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamrouter.ledger import schema
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.engine import Engine, Failed
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import DAY, account, moment


class Op:
    plain, changes = False, True

    def __init__(self, act: Callable[[SqliteBook], Any]) -> None:
        self.act = act

    def apply(self, book: SqliteBook, at: Moment) -> Any:
        return self.act(book)


def adds(number: int) -> Op:
    def act(book: SqliteBook) -> int:
        book.add_account(account(id=f"acct_{number}", name=f"n{number}"))
        return number

    return Op(act)


def raises(error: Exception) -> Op:
    def act(book: SqliteBook) -> None:
        book.add_account(account(id="acct_wrong", name="wrong"))
        raise error

    return Op(act)


def code(number: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told")
    error.sqlite_errorcode = number
    return error


@pytest.fixture
def parts(tmp_path: Path) -> Any:
    raw = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
    schema.prepare(raw)
    yield raw, Engine(Ballast(str(tmp_path / "l.db"), 4096)), tmp_path / "l.db.ballast"
    raw.close()


def names(raw: sqlite3.Connection) -> list[str]:
    return [name for (name,) in raw.execute("SELECT name FROM account ORDER BY name")]


def test_a_batch_is_one_transaction(parts: Any) -> None:
    raw, engine, ballast = parts
    statements: list[str] = []
    raw.set_trace_callback(statements.append)
    committed = engine.run(raw, [adds(1), adds(2)], moment())
    assert committed.outcomes == [1, 2]
    assert sorted(committed.accounts) == ["acct_1", "acct_2"]
    assert (statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")) == (1, 1)
    assert schema.meta(raw, "last_day") == DAY
    assert ballast.exists() and committed.ballast_held


def test_one_wrong_operation_does_not_take_the_others_with_it(parts: Any) -> None:
    raw, engine, _ = parts
    breaks = Op(lambda book: book.add_account(account(id="acct_b", name="b", spent=1)))
    wrong = raises(KeyError("a bug"))
    committed = engine.run(raw, [adds(1), wrong, adds(2), breaks, adds(3)], moment())
    assert names(raw) == ["n1", "n2", "n3"]
    assert sorted(committed.accounts) == ["acct_1", "acct_2", "acct_3"]
    assert [isinstance(outcome, Failed) for outcome in committed.outcomes] == [False, True, False, True, False]
    assert isinstance(committed.outcomes[1].error, KeyError)
    assert isinstance(committed.outcomes[3].error, sqlite3.IntegrityError)


@pytest.mark.parametrize("number", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_WRITE])
def test_a_file_that_cannot_be_written_fails_the_whole_batch(parts: Any, number: int) -> None:
    raw, engine, _ = parts
    with pytest.raises(sqlite3.OperationalError):
        engine.run(raw, [adds(1), raises(code(number))], moment())
    assert names(raw) == [] and not raw.in_transaction
    assert engine.run(raw, [adds(1)], moment()).outcomes == [1]


def test_a_full_disk_gives_up_the_ballast(parts: Any) -> None:
    raw, engine, ballast = parts
    engine.run(raw, [], moment())
    with pytest.raises(sqlite3.OperationalError):
        engine.run(raw, [raises(code(sqlite3.SQLITE_FULL))], moment())
    assert not ballast.exists()
    ballast.mkdir()
    assert engine.run(raw, [adds(1)], moment()).ballast_held is False
    ballast.rmdir()
    assert engine.run(raw, [], moment()).ballast_held is True


def test_what_is_durable_keeps_its_outcome_when_the_file_fails_one_by_one(parts: Any) -> None:
    raw, engine, _ = parts
    calls = []

    def later(book: SqliteBook) -> None:
        calls.append(1)
        raise (ValueError("a bug") if len(calls) == 1 else code(sqlite3.SQLITE_BUSY))

    committed = engine.run(raw, [adds(1), Op(later), adds(2)], moment())
    assert names(raw) == ["n1"]
    assert committed.outcomes[0] == 1
    assert [outcome.error.sqlite_errorcode for outcome in committed.outcomes[1:]] == [sqlite3.SQLITE_BUSY] * 2
