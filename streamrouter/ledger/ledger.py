"""The ledger as the gateway and the administration see it: reserve, settle, extend, ask (docs/ledger.md).

Everything goes through one queue to one connection. What is awaited is durable when it returns; what is put is never
lost while the process lives, and recovered in the ledger's favour when it does not.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from msgspec.structs import replace

from streamrouter.clock import Clock
from streamrouter.config import place
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal, StreamrouterError
from streamrouter.ledger import administration, driver, invariants, opening, reads, retention, sqlite
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.engine import Committed
from streamrouter.ledger.operations import (
    AskOperation,
    CommandOperation,
    ExtendOperation,
    ReserveOperation,
    SettleOperation,
    release_operation,
)
from streamrouter.ledger.records import Account, Credit, EntryKind, Hold, Key, Reserve, Settled, Stored, Usage
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.sqlite_store import SqliteStore
from streamrouter.ledger.store import Store
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
    on_revoked: Callable[[str], object] | None = None  # a key (its id) of which it is known now that it is revoked

    def __init__(
        self,
        path: str,
        store: Store,
        opened: opening.Opened,
        *,
        config: LedgerConfig,
        clock: Clock,
        on_fatal: Callable[[str], None],
        max_waiting: int,
    ) -> None:
        """Use ``open``."""
        self.path = path
        self.recovered = opened.recovered
        self._store = store
        self._config = config
        self._clock = clock
        self._accounts = {account.id: account for account in opened.accounts}
        self._keys = {key.hash: key for key in opened.keys}
        self._writer = Writer(store.commit, self._committed, on_fatal, max_waiting)
        store.watch(self._learn, self._writer.examine)

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
        make: bool = True,
    ) -> Ledger:
        """Take the file for this process, or join the others on a database, recover what dead ones left open, and
        start the writer.

        ``path`` is a file's, or the URL of a Postgres database; ``ballast_bytes`` and ``factory`` are for a file,
        ``make`` is for a database: False leaves an empty one as it is (NoLedger).
        ``on_fatal(why)`` is called when the process must exit at once. LedgerError says what to do: the file is held by
        another process, damaged, read-only, of a newer schema, the database is not to be had, or the books are wrong.
        """
        store: Store
        if place.is_database(path):
            store, opened = await driver.postgres("store").PostgresStore.open(
                path, config=config, clock=clock, make=make
            )
        else:
            path = os.path.realpath(path)
            store, opened = await SqliteStore.open(
                path, config=config, clock=clock, ballast_bytes=ballast_bytes, factory=factory
            )
        return cls(path, store, opened, config=config, clock=clock, on_fatal=on_fatal, max_waiting=max_waiting)

    async def close(self) -> None:
        """Commit what waits (for two busy timeouts at most), and let go of the file or the database."""
        await self._writer.close(2 * self._config.busy_timeout_s)
        await self._store.close()

    # -- requests

    def key_by_hash(self, digest: bytes) -> tuple[Key, Account] | None:
        """The key with this SHA-256 and its account, as of the last commit. Revoked and disabled ones are included."""
        key = self._keys.get(digest)
        return None if key is None else (key, self._accounts[key.account_id])

    async def find(self, digest: bytes) -> tuple[Key, Account] | None:
        """A key that ``key_by_hash`` does not know: another process may have made it just now. Refusal: not now."""
        found = await self._store.find(digest)
        if found is not None:
            key, account = found
            self._learn({account.id: account}, {key.id: key})
        return found

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

    async def ask(self, function: Callable[[Connection], T]) -> T:
        """A read in the writer's order: it sees everything put before it. Refusal while the books cannot be written."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(AskOperation(function, future))
        return await future

    async def usage(self, account: str) -> Usage:
        """Today of one account (by name or id). LookupError if there is none."""
        return await self.ask(lambda connection: reads.usage(connection, account, self.day))

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
        await self._store.backup(path)

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
    def shown(self) -> str:
        """Where it is, as it may be shown: without a password."""
        return place.shown(self.path)

    @property
    def boot(self) -> int:
        """The number of this run of a process: no other one on this ledger has it."""
        return self._store.boot

    @property
    def now_ns(self) -> int:
        """The clock that records are dated by, in Unix nanoseconds."""
        return self._store.now_ns

    @property
    def day(self) -> int:
        """The ledger's day, in days since 1970-01-01."""
        return self._store.day

    @property
    def queue_length(self) -> int:
        """Operations that wait for a commit."""
        return self._writer.queue_length

    def health(self) -> str | None:
        """Why the ledger cannot be written now, or None."""
        return self._writer.trouble

    @property
    def clock_alarm(self) -> str | None:
        """Why the ledger does not follow the clock's date, or None."""
        return self._store.alarm

    @property
    def on_committed(self) -> Callable[[float], None] | None:
        """Called with the seconds that a group commit took."""
        return self._store.on_committed

    @on_committed.setter
    def on_committed(self, told: Callable[[float], None] | None) -> None:
        self._store.on_committed = told

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
        """Take the clock's date as the ledger's, in either direction; the day number."""
        return await self.act(self._store.acceptance(), actor=actor)

    async def act(self, function: Callable[..., T], *arguments: Any, actor: str = "") -> T:
        """Carry out ``function(book, moment, *arguments)`` in the writer's transaction, in the name of ``actor``."""

        def command(book: SqliteBook, at: Moment) -> T:
            return function(book, replace(at, actor=actor), *arguments)

        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.put(CommandOperation(command, future))
        return await future

    # -- for the writer and the store

    def _committed(self, committed: Committed) -> None:
        self._learn(committed.accounts, committed.keys)

    def _learn(self, accounts: Mapping[str, Account], keys: Mapping[str, Key]) -> None:
        self._accounts.update(accounts)
        for key in keys.values():
            self._keys[key.hash] = key
            if key.status == "revoked" and self.on_revoked is not None:
                self.on_revoked(key.id)
