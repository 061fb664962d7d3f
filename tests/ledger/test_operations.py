from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from streamrouter.errors import Refusal
from streamrouter.ledger import rules, schema
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.denials import unknown_key
from streamrouter.ledger.engine import Failed
from streamrouter.ledger.operations import (
    AskOperation,
    CommandOperation,
    ExtendOperation,
    ReserveOperation,
    SettleOperation,
    release_operation,
)
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import account, book, command, finished, moment


@pytest.fixture
def sqlite_book() -> Iterator[SqliteBook]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.prepare(connection)
        yield SqliteBook(connection, {})


def a_hold() -> Hold:
    outcome = rules.reserve(book(), command(), moment())
    assert isinstance(outcome, Hold)
    return outcome


SETTLED = Settled(id="req_1", input_tokens=1, output_tokens=1, cached_tokens=0, cost=0, over_input=0, over_output=0)


async def reserving() -> tuple[ReserveOperation, asyncio.Future[Any], list[Hold]]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    abandoned: list[Hold] = []
    return ReserveOperation(command(), future, abandoned.append), future, abandoned


async def test_a_reserve_tells_its_hold_or_its_refusal() -> None:
    hold = a_hold()
    operation, future, abandoned = await reserving()
    operation.done(hold)
    assert await future is hold and abandoned == []
    operation, future, _ = await reserving()
    operation.done(unknown_key())
    assert (await future).code == "invalid_api_key"


async def test_a_reserve_whose_waiter_is_gone_abandons_its_hold() -> None:
    operation, future, abandoned = await reserving()
    assert operation.wanted()
    future.cancel()
    assert not operation.wanted()
    hold = a_hold()
    operation.done(hold)
    assert abandoned == [hold]
    operation.done(unknown_key())
    operation.failed(Refusal("overloaded", "x"))
    assert abandoned == [hold]


async def test_a_reserve_that_met_a_bug_is_refused_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    operation, future, _ = await reserving()
    with caplog.at_level(logging.ERROR):
        operation.failed(KeyError("a bug"))
    assert (await future).code == "ledger_unavailable" and "a bug" in caplog.text


async def test_a_settlement_tells_its_callback_on_the_next_turn_and_its_waiter() -> None:
    told: list[Any] = []
    future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    operation = SettleOperation(a_hold(), finished(), lambda *parts: told.append(parts), future)
    assert operation.kept and operation.urgent and not SettleOperation(a_hold(), finished()).urgent
    operation.done(SETTLED)
    assert told == []
    assert await future is SETTLED
    await asyncio.sleep(0)
    assert told[0][2] is SETTLED
    operation.done(SETTLED)


async def test_a_settlement_that_fails_is_logged_and_its_waiter_told(caplog: pytest.LogCaptureFixture) -> None:
    future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    hold = a_hold()
    operation = SettleOperation(hold, finished(), None, future)
    operation.failed(LookupError("gone"))
    operation.failed(LookupError("gone"))
    with pytest.raises(LookupError):
        await future
    SettleOperation(hold, finished()).failed(LookupError("gone"))
    assert hold.id in caplog.text
    SettleOperation(hold, finished()).done(SETTLED)


async def test_a_release_closes_the_hold() -> None:
    hold = a_hold()
    operation = release_operation(hold)
    assert hold.closed and operation.kept


async def test_an_extension_tells_the_hold() -> None:
    hold, calls = a_hold(), [0]

    def on_lease() -> None:
        calls[0] += 1

    hold.on_lease = on_lease
    ExtendOperation(hold, 400, urgent=True).done(400)
    ExtendOperation(hold, 300, urgent=False).done(300)
    await asyncio.sleep(0)
    assert (hold.lease, hold.lease_failed, calls) == (400, False, [2])
    ExtendOperation(hold, 500, urgent=True).done(None)
    assert hold.lease_failed
    hold.lease_failed = False
    ExtendOperation(hold, 500, urgent=True).failed(RuntimeError("x"))
    assert hold.lease_failed
    await asyncio.sleep(0)
    hold.closed = True
    ExtendOperation(hold, 500, urgent=True).done(500)
    await asyncio.sleep(0)
    assert calls == [4]


@pytest.mark.parametrize("error", [LookupError("x"), ValueError("x"), Refusal("link_expired", "x")])
async def test_a_read_that_fails_undoes_nothing(error: Exception, sqlite_book: SqliteBook) -> None:
    """Raised, it would make the whole batch begin again, each operation with a commit of its own."""

    def fails(raw: Connection) -> None:
        raise error

    operation = AskOperation(fails, asyncio.get_running_loop().create_future())
    assert operation.apply(sqlite_book, moment()) == Failed(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda book: book.audit(moment(), "done", "by half", {}),
        lambda book: book.add_account(account(id="acct_2", name="half")),
    ],
)
async def test_an_act_that_is_refused_undoes_the_others_only_if_it_is_half_done(
    sqlite_book: SqliteBook, change: Callable[[SqliteBook], None]
) -> None:
    sqlite_book.add_account(account())
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def refused(book: SqliteBook, at: Moment) -> None:
        assert book.account_named("team-a") is not None
        raise ValueError("no")

    def half_done(book: SqliteBook, at: Moment) -> None:
        change(book)
        raise ValueError("no")

    assert isinstance(CommandOperation(refused, future).apply(sqlite_book, moment()), Failed)
    with pytest.raises(ValueError, match="no"):
        CommandOperation(half_done, future).apply(sqlite_book, moment())


async def test_nobody_is_told_an_answer_twice_or_after_leaving() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    operation = AskOperation(lambda raw: 1, future)
    assert operation.wanted()
    future.cancel()
    operation.done(1)
    operation.failed(ValueError("x"))
    assert not operation.wanted()
