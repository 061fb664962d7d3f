from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamrouter.errors import Refusal
from streamrouter.ledger import writer as writer_module
from streamrouter.ledger.book import Moment
from streamrouter.ledger.engine import Committed, Failed
from streamrouter.ledger.operations import Operation, ReserveOperation
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.writer import Writer
from tests.ledger.books import command, until


class Told(Operation):
    """An operation that remembers what it was told."""

    def __init__(self, name: str, *, urgent: bool = True, kept: bool = False, wanted: bool = True) -> None:
        self.name, self.urgent, self.kept = name, urgent, kept
        self._wanted = wanted
        self.told: Any = None

    def wanted(self) -> bool:
        return self._wanted

    def apply(self, book: SqliteBook, at: Moment) -> str:
        return self.name

    def done(self, outcome: Any) -> None:
        assert self.told is None
        self.told = outcome

    def failed(self, error: Exception) -> None:
        assert self.told is None
        self.told = error


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told")
    error.sqlite_errorcode = code
    return error


class Disk:
    """A commit that can be held back, told to fail, and asked what it saw."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.errors: list[Exception] = []
        self.faults: dict[str, Exception] = {}
        self.ballast_held = True
        self.fatal: list[str] = []

    async def commit(self, batch: list[Operation]) -> Committed:
        names = [operation.name for operation in batch if isinstance(operation, Told)]
        await self.free.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(names)
        outcomes = [Failed(self.faults[name]) if name in self.faults else name for name in names]
        return Committed(outcomes, {}, {}, self.ballast_held)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)


@pytest.fixture
async def disk() -> Disk:
    return Disk()


@pytest.fixture
async def writer(disk: Disk) -> AsyncIterator[Writer]:
    made = Writer(disk.commit, lambda committed: None, disk.fatal.append, max_waiting=2)
    yield made
    disk.free.set()
    await made.close(1.0)


async def turns(many: int) -> None:
    for _ in range(many):
        await asyncio.sleep(0)


def is_unavailable(told: Any) -> bool:
    return isinstance(told, Refusal) and told.code == "ledger_unavailable"


async def test_a_batch_is_what_arrived_during_the_commit_before(writer: Writer, disk: Disk) -> None:
    disk.free.clear()
    operations = [Told(str(number)) for number in range(5)]
    writer.put(operations[0])
    await turns(8)
    for operation in operations[1:]:
        writer.put(operation)
    assert writer.queue_length == 4
    disk.free.set()
    await until(lambda: operations[-1].told)
    assert disk.batches == [["0"], ["1", "2", "3", "4"]]


async def test_a_batch_has_a_bound(writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH", 2)
    operations = [Told(str(number), urgent=False) for number in range(5)]
    for operation in operations:
        writer.put(operation)
    await until(lambda: operations[-1].told)
    assert disk.batches == [["0", "1"], ["2", "3"], ["4"]]


async def test_settlements_ride_with_the_next_reserve_or_go_soon(writer: Writer, disk: Disk) -> None:
    lazy, urgent = Told("lazy", urgent=False), Told("urgent")
    writer.put(lazy)
    await asyncio.sleep(0.001)
    assert disk.batches == []
    writer.put(urgent)
    await until(lambda: urgent.told)
    assert disk.batches == [["lazy", "urgent"]]
    alone = Told("alone", urgent=False)
    writer.put(alone)
    await until(lambda: alone.told, within_s=0.5)


async def test_what_nobody_waits_for_is_not_done(writer: Writer, disk: Disk) -> None:
    gone, last = Told("gone", wanted=False), Told("last")
    writer.put(gone)
    writer.put(last)
    await until(lambda: last.told)
    assert disk.batches == [["last"]] and gone.told is None


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL])
async def test_what_is_true_stays_queued_in_order_and_the_rest_is_refused(
    writer: Writer, disk: Disk, code: int
) -> None:
    disk.errors = [sqlite_error(code)] * 3
    first, second = Told("first", urgent=False, kept=True), Told("second", urgent=False, kept=True)
    refused = Told("refused")
    for operation in (first, refused, second):
        writer.put(operation)
    await until(lambda: refused.told)
    assert is_unavailable(refused.told) and writer.trouble
    late, third = Told("late"), Told("third", kept=True)
    writer.put(third)
    writer.put(late)
    assert is_unavailable(late.told), "refused at once while the file cannot be written"
    await until(lambda: third.told)
    assert disk.batches == [["first", "second", "third"]]
    assert writer.trouble is None


async def test_trouble_ends_without_anything_queued(writer: Writer, disk: Disk) -> None:
    disk.errors = [sqlite_error(sqlite3.SQLITE_BUSY)]
    writer.put(Told("refused"))
    await until(lambda: writer.trouble)
    await until(lambda: writer.trouble is None)
    assert disk.batches == [[]]


async def test_a_disk_without_room_for_the_ballast_refuses_new_requests_only(writer: Writer, disk: Disk) -> None:
    disk.ballast_held = False
    settled, reserve = Told("settled", kept=True), Told("reserve")
    writer.put(settled)
    await until(lambda: settled.told)
    writer.put(reserve)
    assert is_unavailable(reserve.told)
    disk.ballast_held = True
    await until(lambda: writer.trouble is None)


async def test_one_wrong_operation_fails_alone(writer: Writer, disk: Disk) -> None:
    disk.faults = {"wrong": KeyError("a bug")}
    wrong, right = Told("wrong", kept=True), Told("right")
    writer.put(wrong)
    writer.put(right)
    await until(lambda: right.told)
    assert isinstance(wrong.told, KeyError) and right.told == "right"


async def test_a_batch_that_failed_half_way_keeps_what_is_durable(writer: Writer, disk: Disk) -> None:
    disk.faults = {"b": sqlite_error(sqlite3.SQLITE_BUSY), "c": sqlite_error(sqlite3.SQLITE_BUSY)}
    a, b, c = Told("a"), Told("b", kept=True), Told("c")
    for operation in (a, b, c):
        writer.put(operation)
    await until(lambda: c.told)
    assert a.told == "a" and is_unavailable(c.told) and b.told is None
    disk.faults = {}
    await until(lambda: b.told)
    assert b.told == "b"


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
async def test_a_failed_file_stops_the_process(writer: Writer, disk: Disk, code: int) -> None:
    disk.errors = [sqlite_error(code)]
    kept, waiting = Told("kept", kept=True), Told("waiting")
    writer.put(kept)
    writer.put(waiting)
    await until(lambda: disk.fatal)
    assert disk.fatal == ["the ledger's file failed: told"]
    assert is_unavailable(kept.told) and is_unavailable(waiting.told)
    after = Told("after", kept=True)
    writer.put(after)
    assert is_unavailable(after.told)


async def test_a_writer_that_dies_stops_the_process(writer: Writer, disk: Disk) -> None:
    disk.errors = [RuntimeError("a bug of ours")]
    writer.put(Told("any"))
    await until(lambda: disk.fatal)
    assert "writer died" in disk.fatal[0]


async def test_only_so_many_reserves_wait(writer: Writer, disk: Disk) -> None:
    disk.free.clear()
    loop = asyncio.get_running_loop()
    writer.put(Told("running"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    futures = [loop.create_future() for _ in range(3)]
    for future in futures:
        writer.put(ReserveOperation(command(), future, lambda hold: None))
    assert [future.done() for future in futures] == [False, False, True]
    assert futures[2].result().code == "overloaded"
    for future in futures[:2]:
        future.cancel()


async def test_closing_commits_what_waits_and_refuses_what_comes(disk: Disk) -> None:
    writer = Writer(disk.commit, lambda committed: None, disk.fatal.append, max_waiting=2)
    lazy = Told("lazy", urgent=False, kept=True)
    writer.put(lazy)
    closing = asyncio.create_task(writer.close(1.0))
    await asyncio.sleep(0)
    refused = Told("refused")
    writer.put(refused)
    assert is_unavailable(refused.told)
    assert await closing
    assert lazy.told == "lazy" and disk.fatal == []


async def test_closing_gives_up_on_a_file_that_cannot_be_written(disk: Disk) -> None:
    writer = Writer(disk.commit, lambda committed: None, disk.fatal.append, max_waiting=2)
    disk.errors = [sqlite_error(sqlite3.SQLITE_BUSY)] * 1000
    kept = Told("kept", kept=True)
    writer.put(kept)
    assert not await writer.close(0.05)
    assert is_unavailable(kept.told) and disk.fatal == []


async def test_what_the_loop_has_at_hand_comes_along(writer: Writer, disk: Disk) -> None:
    operations = [Told(str(number)) for number in range(3)]
    for operation in operations:
        writer.put(operation)
        await asyncio.sleep(0)
    await until(lambda: all(operation.told for operation in operations))
    assert disk.batches == [["0", "1", "2"]]


async def test_a_loop_whose_turns_are_long_is_not_waited_for(
    writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_S", 0.0)
    first, second = Told("first"), Told("second")
    writer.put(first)
    await turns(3)
    writer.put(second)
    await until(lambda: second.told)
    assert disk.batches == [["first"], ["second"]]
