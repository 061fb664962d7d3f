"""The ledger as the gateway and the administration see it: reserve, settle, extend, ask (docs/ledger.md).

Everything goes through one queue to one connection. What is awaited is durable when it returns; what is put is never
lost while the process lives, and recovered in the ledger's favour when it does not.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from msgspec.structs import replace

from streamrouter.clock import Clock
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError, Refusal, StreamrouterError
from streamrouter.ledger import administration, backup, invariants, opening, reads, retention, sqlite
from streamrouter.ledger.ballast import Ballast
from streamrouter.ledger.book import Moment
from streamrouter.ledger.days import Days
from streamrouter.ledger.engine import Committed, Engine
from streamrouter.ledger.lock import Holder, Lock
from streamrouter.ledger.operations import (
    AskOperation,
    CommandOperation,
    ExtendOperation,
    Operation,
    ReserveOperation,
    SettleOperation,
    release_operation,
)
from streamrouter.ledger.records import Account, Credit, EntryKind, Hold, Key, Reserve, Settled, Stored, Usage
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.writer import Writer
from streamrouter.policy.endings import Ending

T = TypeVar("T")


class Replayed(StreamrouterError):
    """A request that was carried out before under its Idempotency-Key: ``stored`` is its answer, nothing is held."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(f"carried out before as {stored.hold_id}")
        self.stored = stored


BALLAST_BYTES = 16 << 20
MAX_WAITING = 4096  # reserves in the queue: at 15,000 a second, a quarter of a second's wait


class Ledger:
    """An open ledger. ``on_settled(hold, ending, settled)`` is called on the loop after each settlement's commit."""

    on_settled: Callable[[Hold, Ending, Settled], None] | None = None
    on_committed: Callable[[float], None] | None = None  # seconds that a group commit took

    def __init__(
        self,
        path: str,
        lock: Lock,
        connection: sqlite.Connection,
        opened: opening.Opened,
        *,
        config: LedgerConfig,
        clock: Clock,
        on_fatal: Callable[[str], None],
        ballast_bytes: int,
        max_waiting: int,
    ) -> None:
        """Use ``open``."""
        self.path = path
        self.boot = opened.boot
        self.recovered = opened.recovered
        self._lock = lock
        self._connection = connection
        self._config = config
        self._clock = clock
        self._days = Days(opened.last_day, clock.now_ns(), clock.boottime())
        self._accounts = {account.id: account for account in opened.accounts}
        self._keys = {key.hash: key for key in opened.keys}
        self._engine = Engine(Ballast(path, ballast_bytes), config.busy_timeout_s)
        self._writer = Writer(self._commit, self._committed, on_fatal, max_waiting)

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        config: LedgerConfig,
        clock: Clock,
        on_fatal: Callable[[str], None],
        ballast_bytes: int = BALLAST_BYTES,
        max_waiting: int = MAX_WAITING,
        factory: sqlite.Factory = sqlite3.connect,
    ) -> Ledger:
        """Take the file for this process, recover what a dead one left open, and start the writer.

        ``on_fatal(why)`` is called when the process must exit at once. LedgerError says what to do: the file is held by
        another process, damaged, read-only, of a newer schema, or its books are wrong.
        """
        path = os.path.realpath(path)
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
        return cls(
            path,
            lock,
            connection,
            opened,
            config=config,
            clock=clock,
            on_fatal=on_fatal,
            ballast_bytes=ballast_bytes,
            max_waiting=max_waiting,
        )

    async def close(self) -> None:
        """Commit what waits (for two busy timeouts at most), checkpoint, and release the lock."""
        await self._writer.close(2 * self._config.busy_timeout_s)
        try:
            await self._connection.run(_checkpoint)
        finally:
            await self._connection.close()
            self._lock.release()

    # -- requests

    def key_by_hash(self, digest: bytes) -> tuple[Key, Account] | None:
        """The key with this SHA-256 and its account, as of the last commit. Revoked and disabled ones are included."""
        key = self._keys.get(digest)
        return None if key is None else (key, self._accounts[key.account_id])

    async def reserve(self, command: Reserve) -> Hold:
        """Admit a request: the hold is durable when this returns. A cancelled caller leaves no hold.

        Refusal: the codes of docs/ledger.md "Reserve", ``ledger_unavailable``, ``overloaded``.
        Replayed: it was carried out before under its Idempotency-Key.
        """
        future: asyncio.Future[Hold | Stored | Refusal] = asyncio.get_running_loop().create_future()
        self._writer.put(ReserveOperation(command, future, self._release))
        try:
            outcome = await future
        except asyncio.CancelledError:
            if not future.cancelled():  # cancelled between the commit and our turn: the writer has told us already
                outcome = future.result()
                if isinstance(outcome, Hold):
                    self._release(outcome)
            raise
        if isinstance(outcome, Refusal):
            raise outcome
        if isinstance(outcome, Stored):
            raise Replayed(outcome)
        return outcome

    def _release(self, hold: Hold) -> None:
        self._writer.put(release_operation(hold), first=True)

    def settle(self, hold: Hold, ending: Ending) -> None:
        """Close the hold; never lost, never waits. A second call is a no-op."""
        if not hold.closed:
            hold.closed = True
            self._writer.put(SettleOperation(hold, ending, self.on_settled))

    async def settle_durably(self, hold: Hold, ending: Ending, reply: bytes | None = None) -> Settled:
        """Close the hold (put before the first await) and wait for the commit. Again: the first result.

        ``reply``: the answer to keep for a repetition under the same Idempotency-Key.
        """
        settled = None if hold.closed else self.on_settled
        hold.closed = True
        future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        self._writer.put(SettleOperation(hold, ending, settled, future, reply))
        return await future

    def extend(self, hold: Hold, lease_output: int, *, urgent: bool) -> None:
        """Ask for a longer lease; ``hold.lease`` and ``hold.on_lease`` tell when it is durable. ``urgent``: now."""
        if not hold.closed:
            hold.asked = max(hold.asked, lease_output)
            self._writer.put(ExtendOperation(hold, lease_output, urgent))

    # -- reading

    async def ask(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """A read in the writer's order: it sees everything put before it. Refusal while the file cannot be written."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(AskOperation(function, future))
        return await future

    async def usage(self, account: str) -> Usage:
        """Today of one account (by name or id). LookupError if there is none."""
        return await self.ask(lambda connection: reads.usage(connection, account, self._today()))

    async def accounts(self) -> list[Account]:
        """Every account, by name."""
        return await self.ask(reads.accounts)

    async def keys(self, account: str | None = None) -> list[Key]:
        """The keys of one account (by name or id), or all. LookupError if there is no such account."""
        if account is None:
            return await self.ask(reads.keys)
        return await self.ask(lambda connection: reads.keys(connection, reads.account_named(connection, account).id))

    async def check(self, *, whole: bool = True, since: int | None = None) -> list[str]:
        """Breaches of the books' invariants; none: they are right. ``whole`` reads every hold, and commits wait.

        ``since``: only open holds and the days from that one on.
        """
        return await self.ask(partial(invariants.check, whole=whole, since=since))

    async def backup(self, path: str) -> None:
        """Copy the books to ``path``, with all that was put before. Commits wait. LedgerError says why it failed."""
        await self.ask(lambda connection: None)  # outside of a transaction SQLite copies, and only what is committed
        await self._connection.run(partial(backup.write, path=path))

    async def prune(self, after: str = "") -> retention.Pruned:
        """One step of removing closed holds that are older than is configured, from the id ``after`` on."""
        days = self._config.retain_holds_days
        if days is None:
            return retention.Pruned(0, None)
        return await self.act(retention.prune, days, after)

    async def expire(self) -> int:
        """One step of forgetting Idempotency-Keys after their 24 hours; how many were forgotten."""
        return await self.act(retention.expire)

    @property
    def now_ns(self) -> int:
        """The wall clock that records are dated by, in Unix nanoseconds."""
        return self._clock.now_ns()

    @property
    def day(self) -> int:
        """The ledger's day, in days since 1970-01-01."""
        return self._today()

    @property
    def queue_length(self) -> int:
        """Operations that wait for a commit."""
        return self._writer.queue_length

    def health(self) -> str | None:
        """Why the ledger cannot be written now, or None."""
        return self._writer.trouble

    @property
    def clock_alarm(self) -> str | None:
        """Why the ledger does not follow the wall clock's date, or None."""
        self._today()
        return self._days.alarm

    # -- administration: see administration.py

    async def create_account(self, name: str, caps: dict[str, Any], actor: str = "") -> Account:
        """A new account."""
        return await self.act(administration.create_account, name, caps, actor=actor)

    async def set_account(self, name: str, caps: dict[str, Any], actor: str = "") -> Account:
        """Change the caps that are named."""
        return await self.act(administration.set_account, name, caps, actor=actor)

    async def set_account_status(self, name: str, status: Literal["active", "disabled"], actor: str = "") -> Account:
        """Enable or disable an account."""
        return await self.act(administration.set_account_status, name, status, actor=actor)

    async def create_key(
        self,
        account: str,
        surface: str,
        prefix: str,
        models: list[str] | None,
        concurrency: int | None,
        ref: str | None = None,
        *,
        actor: str = "",
    ) -> tuple[Key, str]:
        """A new key and its secret; the same ``ref`` again gives that key and "" for the secret."""
        wanted = (account, surface, prefix, models, concurrency, ref)
        return await self.act(administration.create_key, *wanted, actor=actor)

    async def revoke_key(self, key_id: str, actor: str = "") -> Key:
        """Refuse new requests of a key."""
        return await self.act(administration.revoke_key, key_id, actor=actor)

    async def rotate_key(self, key_id: str, prefix: str, grace_s: int = 0, actor: str = "") -> tuple[Key, str]:
        """Replace a key by a new one with the same rights; the old one is good for ``grace_s`` seconds more."""
        return await self.act(administration.rotate_key, key_id, prefix, grace_s, actor=actor)

    async def credit(
        self, account: str, entries: Sequence[tuple[EntryKind, int]], ref: str | None = None, *, actor: str = ""
    ) -> Credit:
        """Book money; the same ``ref`` again gives the earlier result."""
        return await self.act(administration.credit, account, entries, ref, actor=actor)

    async def accept_day(self, actor: str = "") -> int:
        """Take the wall clock's date as the ledger's, in either direction; the day number."""
        self._days.accept(self._clock.now_ns(), self._clock.boottime())
        return await self.act(administration.accept_day, actor=actor)

    async def act(self, function: Callable[..., T], *arguments: Any, actor: str = "") -> T:
        """Carry out ``function(book, moment, *arguments)`` in the writer's transaction, in the name of ``actor``."""

        def command(book: SqliteBook, at: Moment) -> T:
            return function(book, replace(at, actor=actor), *arguments)

        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(CommandOperation(command, future))
        return await future

    # -- for the writer

    def _today(self) -> int:
        return self._days.at(self._clock.now_ns(), self._clock.boottime())

    async def _commit(self, batch: list[Operation]) -> Committed:
        at = Moment(self._clock.now_ns(), self._today(), self.boot, self._config.lease_tokens)
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

    def _committed(self, committed: Committed) -> None:
        self._accounts.update(committed.accounts)
        for key in committed.keys.values():
            self._keys[key.hash] = key


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
