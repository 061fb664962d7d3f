"""The books in one SQLite file that this process owns: lock, connection, ballast, and the way of a batch."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import partial

from streamrouter.clock import Clock
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError
from streamrouter.ledger import administration, backup, opening, sqlite
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.days import Days
from streamrouter.ledger.engine import Committed, Engine
from streamrouter.ledger.lock import Holder, Lock
from streamrouter.ledger.operations import Operation
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.store import Learned


class SqliteStore:
    """An open file. Use ``open``."""

    on_committed: Callable[[float], None] | None = None

    def __init__(
        self,
        lock: Lock,
        connection: sqlite.Connection,
        opened: opening.Opened,
        *,
        config: LedgerConfig,
        clock: Clock,
        ballast: Ballast,
    ) -> None:
        self.boot = opened.boot
        self._lock = lock
        self._connection = connection
        self._lease_tokens = config.lease_tokens
        self._clock = clock
        self._days = Days(opened.last_day, clock.now_ns(), clock.boottime())
        self._engine = Engine(ballast, config.busy_timeout_s)

    @classmethod
    async def open(
        cls, path: str, *, config: LedgerConfig, clock: Clock, ballast_bytes: int, factory: sqlite.Factory
    ) -> tuple[SqliteStore, opening.Opened]:
        """Take the file for this process and recover what a dead one left open. LedgerError says what to do."""
        lock = Lock(path)
        try:
            connection = await sqlite.connect(path, config, lock.before, factory)
            try:
                opened = await connection.run(partial(opening.prepare, now_ns=clock.now_ns()))
            except (sqlite3.Error, LedgerError) as error:
                await connection.close()
                if isinstance(error, sqlite3.Error):
                    raise sqlite.unusable(path, error) from error
                raise LedgerError(f"{path}: {error}") from error
        except BaseException:
            lock.release()
            raise
        lock.write(Holder(pid=os.getpid(), boot=opened.boot, socket=path + ".sock"))
        ballast = Ballast(path, ballast_bytes)
        return cls(lock, connection, opened, config=config, clock=clock, ballast=ballast), opened

    @property
    def now_ns(self) -> int:
        return self._clock.now_ns()

    @property
    def day(self) -> int:
        return self._days.at(self._clock.now_ns(), self._clock.boottime())

    @property
    def alarm(self) -> str | None:
        self._days.at(self._clock.now_ns(), self._clock.boottime())
        return self._days.alarm

    async def commit(self, batch: list[Operation]) -> Committed:
        now_ns = self._clock.now_ns()
        at = Moment(now_ns, self._days.at(now_ns, self._clock.boottime()), self.boot, self._lease_tokens)
        began = self._clock.monotonic()
        raw = self._connection.idle
        begun = None if raw is None else self._engine.begin(raw, batch, at)
        if begun is not None:
            committed = await self._connection.run(partial(self._engine.finish, begun=begun))
        else:
            committed = await self._connection.run(partial(self._engine.run, operations=batch, at=at))
        if self.on_committed is not None:
            self.on_committed(self._clock.monotonic() - began)
        return committed

    async def backup(self, path: str) -> None:
        await self._connection.run(partial(backup.write, path=path))

    async def find(self, digest: bytes) -> tuple[Key, Account] | None:
        """None: this process alone makes keys, so it knows them all."""
        return None

    def watch(self, learned: Learned, troubled: Callable[[], None]) -> None:
        """Nobody else changes anything, and a file in trouble shows when it is written."""

    def acceptance(self) -> Callable[[SqliteBook, Moment], int]:
        self._days.accept(self._clock.now_ns(), self._clock.boottime())
        return administration.accept_day

    async def close(self) -> None:
        try:
            await self._connection.run(_checkpoint)
        finally:
            await self._connection.close()
            self._lock.release()


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
