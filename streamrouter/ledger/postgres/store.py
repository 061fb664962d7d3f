"""The books in a Postgres database that several processes share (docs/ledger.md "On Postgres").

One connection, on a thread of its own. Beside the batches, it says every other second that this process lives, looks
what the others changed, and closes what dead ones left open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from streamrouter.clock import Clock
from streamrouter.config import place
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError, NoLedger
from streamrouter.ledger import administration, invariants, reads
from streamrouter.ledger.book import Moment
from streamrouter.ledger.days import DAY_NS
from streamrouter.ledger.engine import Committed
from streamrouter.ledger.opening import Opened
from streamrouter.ledger.operations import Operation
from streamrouter.ledger.postgres import boots, news, schema, statements
from streamrouter.ledger.postgres.calendar import Calendar
from streamrouter.ledger.postgres.connection import LONG_S, PATIENCE_S, PostgresConnection, connect
from streamrouter.ledger.postgres.engine import PostgresEngine
from streamrouter.ledger.postgres.news import Changed, News
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.postgres.thread import Thread
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.store import Learned
from streamrouter.ledger.verdicts import DatabaseError
from streamrouter.ledger.writer import unavailable

T = TypeVar("T")
POLL_S = 1.0
FINDS_PER_S = 10  # look-ups of unknown keys: whoever guesses costs the database no more
RECOVER_EVERY = 5  # polls
_WHOLE_CHECK_HOLDS = 100_000  # larger books are checked whole by `streamrouter ledger check`
_MANY = "SELECT count(*) FROM (SELECT 1 FROM hold LIMIT ?) AS first"
_MOMENT = f"SELECT {statements.MOMENT}"
_SET_DAY = "UPDATE meta SET value = ? WHERE name = 'last_day'"
_ACCEPT = "UPDATE meta SET value = value + 1 WHERE name = 'days_accepted'"
log = logging.getLogger("streamrouter.ledger")


class PostgresStore:
    """An open one. Use ``open``."""

    on_committed: Callable[[float], None] | None = None

    def __init__(self, url: str, *, config: LedgerConfig, clock: Clock) -> None:
        durable = config.durability == "full"
        self._config = config
        self._clock = clock
        self._thread = Thread()
        self._session = Session(
            partial(connect, url, busy_timeout_s=config.busy_timeout_s, durable=durable), self._forgotten
        )
        self._polls = 0
        self._accepted = False
        self._finds: tuple[int, int] = (0, 0)
        self._task: asyncio.Task[None] | None = None
        self._calendar: Calendar
        self._news: News
        self._engine: PostgresEngine

    @classmethod
    async def open(
        cls, url: str, *, config: LedgerConfig, clock: Clock, make: bool = True
    ) -> tuple[PostgresStore, Opened]:
        """Join the others on the database, and recover what dead ones left open. LedgerError says what to do.

        ``make`` False: an empty database stays empty (NoLedger).
        """
        store = cls(url, config=config, clock=clock)
        try:
            return store, await store._thread.run(partial(store._begin, make))
        except BaseException as error:
            await store._thread.run(store._session.drop)
            store._thread.stop()
            if isinstance(error, (DatabaseError, LedgerError)) and not isinstance(error, NoLedger):
                raise LedgerError(f"{place.shown(url)}: {error}") from error
            raise

    @property
    def boot(self) -> int:
        return self._session.boot

    @property
    def now_ns(self) -> int:
        return self._calendar.now_ns

    @property
    def day(self) -> int:
        return self._calendar.day

    @property
    def alarm(self) -> str | None:
        return self._calendar.alarm

    @property
    def round_trips(self) -> int:
        """How often the server was waited for."""
        return self._session.round_trips

    async def commit(self, batch: list[Operation]) -> Committed:
        began = self._clock.monotonic()
        committed = await self._thread.run(partial(self._run, batch))
        if self.on_committed is not None:
            self.on_committed(self._clock.monotonic() - began)
        return committed

    async def backup(self, path: str) -> None:
        raise LedgerError("the ledger is in Postgres; back it up with Postgres' own tools: pg_dump --format=custom")

    async def find(self, digest: bytes) -> tuple[Key, Account] | None:
        second = int(self._clock.monotonic())
        number = self._finds[1] + 1 if self._finds[0] == second else 1
        self._finds = (second, number)
        if number > FINDS_PER_S:
            return None  # one that exists is in the news within a second
        try:
            return await self._thread.run(lambda: news.find(self._session.connection(), digest))
        except DatabaseError as error:
            raise unavailable() from error

    def watch(self, learned: Learned, troubled: Callable[[], None]) -> None:
        self._task = asyncio.create_task(self._watch(learned, troubled), name="ledger poll")

    def acceptance(self) -> Callable[[SqliteBook, Moment], int]:
        return self._accept

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        try:
            await self._thread.run(self._session.leave)
        except DatabaseError as error:
            log.warning("the database was left without a word: %s", error)
        finally:
            self._thread.stop()

    async def _watch(self, learned: Learned, troubled: Callable[[], None]) -> None:
        told = ""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                learned(*await self._thread.run(self._poll))
                told = ""
            except DatabaseError as error:
                if str(error) != told:  # once, not every second
                    told = str(error)
                    log.warning("the ledger's database: %s", told)
                troubled()

    # -- the thread's

    def _begin(self, make: bool) -> Opened:
        # Tables first: a number of our own is a row of them.
        self._prepare(make)
        connection = self._session.connection()
        (row,) = connection.execute(_MOMENT)
        self._calendar = Calendar(self._clock, *row[:3])
        self._news = News(row[3])
        self._engine = PostgresEngine(
            self._session,
            self._calendar,
            self._news,
            lease_tokens=self._config.lease_tokens,
            patience_s=self._config.busy_timeout_s,
            durable=self._config.durability == "full",
        )
        recovered = self._recover(row[0])
        wrong = self._reading(connection, _check)
        if wrong:
            raise LedgerError("the books do not add up; keep a dump and restore a backup: " + " / ".join(wrong))
        accounts, keys = self._reading(connection, lambda raw: (reads.accounts(raw), reads.keys(raw)))
        return Opened(self._session.boot, row[1], recovered, accounts, keys)

    def _prepare(self, make: bool) -> None:
        connection = self._session.connect()
        try:
            schema.prepare(connection, self._clock.now_ns(), make=make)
        finally:
            connection.close()

    def _reading(self, connection: PostgresConnection, read: Callable[[PostgresConnection], T]) -> T:
        connection.exchange(statements.LOOK)
        connection.patience_s = LONG_S
        try:
            return read(connection)
        finally:
            connection.patience_s = PATIENCE_S
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _run(self, batch: list[Operation]) -> Committed:
        committed = self._engine.run(batch)
        try:
            if self._accepted:
                self._look()
                self._accepted = False
            accounts, keys = self._news.fetch(self._session.connection())
        except DatabaseError as error:  # the batch is durable: the next one will find out
            log.warning("the ledger's database: %s", error)
        else:
            committed.accounts.update(accounts)
            committed.keys.update(keys)
        return committed

    def _look(self) -> Moment:
        (row,) = self._session.connection().execute(_MOMENT)
        return self._engine.moment(row)

    def _poll(self) -> Changed:
        self._polls += 1
        now_ns = self._look().now_ns
        if self._polls * POLL_S % boots.PULSE_S < POLL_S:
            self._session.pulse()
        if self._polls % RECOVER_EVERY == 0:
            closed = self._recover(now_ns)
            if closed:
                log.warning("%d requests of a process that died were closed as recovered", closed)
        return self._news.fetch(self._session.connection())

    def _recover(self, now_ns: int) -> int:
        session = self._session
        return boots.recover(session.connection(), session.ours, session.me, now_ns, session.connected_s)

    def _forgotten(self) -> None:
        self._engine.forget()

    def _accept(self, book: SqliteBook, at: Moment) -> int:
        day = at.now_ns // DAY_NS
        book.connection.execute(_SET_DAY, (day,))
        book.connection.execute(_ACCEPT)
        self._accepted = True
        return administration.accept_day(book, replace(at, day=day))


def _check(connection: Any) -> list[str]:
    (many,) = connection.execute(_MANY, (_WHOLE_CHECK_HOLDS + 1,)).fetchone()
    return invariants.check(connection, whole=many <= _WHOLE_CHECK_HOLDS)
