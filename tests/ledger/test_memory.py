"""The short way of a batch against the long one: the same outcomes, the same tables, whatever a batch is made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrouter.ledger import rules, schema
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.engine import Committed, Engine
from streamrouter.ledger.memory import MOST_ROWS, Memory, MemoryBook, NotInMemory
from streamrouter.ledger.records import Attempt, Hold
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.endings import Ending, released
from tests.ledger.books import NOON_NS, account, command, finished, key, moment

TABLES = ("account", "api_key", "usage_day", "usage_model", "hold")


class Plain:
    """What a request puts into the queue."""

    plain, changes = True, True

    def __init__(self, act: Callable[[Any, Moment], Any]) -> None:
        self._act = act

    def apply(self, book: Any, at: Moment) -> Any:
        return self._act(book, at)


class Command(Plain):
    plain = False


def reserve(wanted: Any) -> Plain:
    return Plain(lambda book, at: rules.reserve(book, wanted, at))


def settle(hold_id: str, ending: Ending) -> Plain:
    return Plain(lambda book, at: rules.settle(book, hold_id, ending, at.now_ns))


def extend(hold_id: str, lease: int) -> Plain:
    return Plain(lambda book, at: rules.extend(book, hold_id, lease))


def books(path: str) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    schema.prepare(raw)
    first = SqliteBook(raw, {})
    first.add_account(account(credited=10**9, daily_output=20_000, requests_per_minute=600, models=["gpt-5.4-mini"]))
    first.add_key(key(concurrency=6))
    first.write()
    return raw


def dump(raw: sqlite3.Connection) -> list[Any]:
    return [raw.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES]  # noqa: S608


def either_way(raw: sqlite3.Connection, engine: Engine, batch: list[Any], at: Moment) -> tuple[Committed, bool]:
    """As the ledger does it; True: the short way."""
    begun = engine.begin(raw, batch, at)
    return (engine.run(raw, batch, at), False) if begun is None else (engine.finish(raw, begun), True)


@pytest.fixture
def parts(tmp_path: Path) -> Any:
    path = str(tmp_path / "l.db")
    raw = books(path)
    yield raw, Engine(Ballast(path, 4096), 0.05), path
    raw.close()


STEPS = st.lists(
    st.lists(
        st.tuples(st.sampled_from("rrresszxc"), st.integers(0, 7), st.integers(0, 900), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=10,
)


def batch_of(step: list[Any], held: list[str], number: int) -> tuple[list[Any], list[Any]]:
    batch: list[Any] = []
    wanted: list[Any] = []
    for kind, which, tokens, flag in step:
        hold = held[which % len(held)] if held else ""
        if kind == "r" or not hold:
            made = command(id=f"req_{number:04d}_{len(batch)}", limit=tokens + 1, prepaid=flag, stream=flag)
            wanted.append(made)
            batch.append(reserve(made))
        elif kind == "e":
            batch.append(extend(hold, tokens))
        elif kind == "c":  # an act of administration, by SQL of its own
            batch.append(Command(lambda book, at: book.connection.execute("UPDATE account SET daily_input = 10000")))
        else:
            ending = released("tested") if kind == "z" else finished(tokens, tokens)
            batch.append(settle("req_none" if kind == "x" and flag else hold, ending))
    return batch, wanted


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_both_ways_write_the_same_tables(steps: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("ways")
    short, long = books(str(directory / "s.db")), books(str(directory / "l.db"))
    ballast = Ballast(str(directory / "s.db"), 4096)
    quick, slow = Engine(ballast), Engine(ballast)
    held: list[str] = []
    for number, step in enumerate(steps):
        at = moment(NOON_NS + number * 10**7)
        batch, wanted = batch_of(step, held, number)
        one, _ = either_way(short, quick, batch, at)
        other = slow.run(long, batch, at)
        told = [[repr(each) for each in done.outcomes] for done in (one, other)]
        if not any("Cursor" in text for text in told[0]):
            assert told[0] == told[1]
        held += [made.id for made in wanted if any(isinstance(o, Hold) and o.id == made.id for o in one.outcomes)]
        assert dump(short) == dump(long)
    short.close()
    long.close()


def test_the_second_request_of_a_key_takes_the_short_way(parts: Any) -> None:
    raw, engine, _ = parts
    first, way = either_way(raw, engine, [reserve(command())], moment())
    assert not way
    second, way = either_way(raw, engine, [reserve(command())], moment(NOON_NS + 10**9))
    assert way and second.accounts["acct_1"].rate_tat_ns > 0
    ending = [settle(hold.id, finished()) for hold in first.outcomes]
    assert either_way(raw, engine, ending, moment())[1] is False  # the day's row of the model is new
    ending = [settle(hold.id, finished()) for hold in second.outcomes]
    assert either_way(raw, engine, ending, moment())[1] is True
    assert raw.execute("SELECT state, count(*) FROM hold GROUP BY 1").fetchall() == [("settled", 2)]


def test_what_takes_the_long_way(parts: Any) -> None:
    raw, engine, _ = parts
    either_way(raw, engine, [reserve(command())], moment())
    at = moment(NOON_NS + 10**9)
    assert engine.begin(raw, [reserve(command())], moment(day=20_001)) is None
    assert engine.begin(raw, [reserve(command())] * 3, at, most=2) is None
    assert engine.begin(raw, [Command(lambda book, at: None)], at) is None
    assert engine.begin(raw, [reserve(command(key_id="key_9"))], at) is None
    assert engine.begin(raw, [Plain(lambda book, at: 1 / 0)], at) is None
    assert not raw.in_transaction


def test_an_act_of_administration_makes_the_memory_forget(parts: Any) -> None:
    raw, engine, _ = parts
    either_way(raw, engine, [reserve(command())], moment())
    disable = Command(lambda book, at: book.connection.execute("UPDATE account SET status = 'disabled'"))
    either_way(raw, engine, [disable], moment())
    done, way = either_way(raw, engine, [reserve(command())], moment(NOON_NS + 10**9))
    assert not way and not isinstance(done.outcomes[0], Hold)


def test_another_programs_lock_is_waited_for_on_the_thread_only(parts: Any) -> None:
    raw, engine, path = parts
    either_way(raw, engine, [reserve(command())], moment())
    at = moment(NOON_NS + 10**9)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert engine.begin(raw, [reserve(command())], at) is None
    assert raw.execute("PRAGMA busy_timeout").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        engine.run(raw, [reserve(command())], at)
    assert raw.execute("PRAGMA busy_timeout").fetchone() == (50,)
    other.execute("COMMIT")
    other.close()
    assert either_way(raw, engine, [reserve(command())], at)[1]


class Stubborn:
    """A connection whose COMMIT fails with a code, once."""

    def __init__(self, raw: sqlite3.Connection, code: int) -> None:
        self._raw = raw
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql == "COMMIT" and self._code:
            error = sqlite3.OperationalError("told")
            error.sqlite_errorcode, self._code = self._code, 0
            raise error
        return self._raw.execute(sql, *parameters)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_BUSY])
def test_a_commit_that_fails_leaves_nothing(parts: Any, code: int) -> None:
    raw, engine, path = parts
    either_way(raw, engine, [reserve(command())], moment())
    before, at = dump(raw), moment(NOON_NS + 10**9)
    begun = engine.begin(raw, [reserve(command())], at)
    assert begun is not None
    with pytest.raises(sqlite3.OperationalError):
        engine.finish(cast(sqlite3.Connection, Stubborn(raw, code)), begun)
    assert dump(raw) == before and not raw.in_transaction
    assert Path(path + ".ballast").exists() is (code != sqlite3.SQLITE_FULL)
    assert either_way(raw, engine, [reserve(command())], at)[1]


def test_an_io_error_stops_the_process_and_is_not_tried_again(parts: Any) -> None:
    raw, engine, _ = parts
    either_way(raw, engine, [reserve(command())], moment())
    error = sqlite3.OperationalError("told")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    def fails(book: Any, at: Moment) -> None:
        raise error

    with pytest.raises(sqlite3.OperationalError):
        engine.begin(raw, [Plain(fails)], moment())


def test_a_row_that_has_gone_is_not_written_past(parts: Any) -> None:
    raw, engine, _ = parts
    done, _ = either_way(raw, engine, [reserve(command())], moment())
    book = MemoryBook(engine._memory)
    hold_id = done.outcomes[0].id
    rules.extend(book, hold_id, 400)
    raw.execute("UPDATE hold SET state = 'settled' WHERE id = ?", (hold_id,))
    with pytest.raises(sqlite3.Error):
        book.write(raw)
    raw.execute("DELETE FROM usage_day")
    book = MemoryBook(engine._memory)
    book.usage_day("acct_1", moment().day).requests += 1
    with pytest.raises(sqlite3.IntegrityError):
        book.write(raw)


def test_a_book_has_no_idempotency_and_no_strangers() -> None:
    book = MemoryBook(Memory())
    attempt = Attempt(hold_id="req_1", key_id="key_1", name="n", fingerprint=b"f", created_ns=1)
    asked: list[Callable[[], Any]] = [
        lambda: book.attempts("key_1", "n"),
        lambda: book.add_attempt(attempt),
        lambda: book.keep_reply("req_1", b"{}"),
        lambda: book.hold("req_1"),
        lambda: book.account("acct_1"),
        lambda: book.key("key_1"),
        lambda: book.usage_day("acct_1", 1),
        lambda: book.usage_model("acct_1", 1, "key_1", "gpt"),
    ]
    for ask in asked:
        with pytest.raises(NotInMemory):
            ask()


def test_the_memory_is_bounded(parts: Any) -> None:
    raw, engine, _ = parts
    either_way(raw, engine, [reserve(command())], moment())
    memory = engine._memory
    memory.keys.update({f"key_{n}": replace(key(), id=f"key_{n}") for n in range(MOST_ROWS + 1)})
    either_way(raw, engine, [reserve(command())], moment(NOON_NS + 10**9))
    assert len(memory.keys) == 0 and len(memory.holds) == 2
