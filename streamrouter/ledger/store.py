"""What the ledger needs of whoever keeps the books: a file of its own (sqlite_store.py), or a database that it shares
with other processes (postgres/store.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from streamrouter.ledger.book import Moment
from streamrouter.ledger.engine import Committed
from streamrouter.ledger.operations import Operation
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SqliteBook

Learned = Callable[[Mapping[str, Account], Mapping[str, Key]], None]


class Store(Protocol):
    """An open one. All of it is called on the loop."""

    on_committed: Callable[[float], None] | None  # seconds that a group commit took

    @property
    def boot(self) -> int:
        """The number that new holds are made under: no other process has it."""

    @property
    def now_ns(self) -> int:
        """The clock that records are dated by, in Unix nanoseconds."""

    @property
    def day(self) -> int:
        """The ledger's day, in days since 1970-01-01."""

    @property
    def alarm(self) -> str | None:
        """Why the ledger does not follow the clock's date, or None."""

    async def commit(self, batch: list[Operation]) -> Committed:
        """Carry out a batch. One of ``DATABASE_ERRORS``: nothing of it has happened, and its verdict says what now."""

    async def backup(self, path: str) -> None:
        """Copy the books to ``path``. LedgerError says why it failed."""

    async def find(self, digest: bytes) -> tuple[Key, Account] | None:
        """A key that this process has not heard of yet, by its SHA-256; None: there is none."""

    def watch(self, learned: Learned, troubled: Callable[[], None]) -> None:
        """From now on ``learned`` is told what other processes changed of accounts and keys, ``troubled`` is called
        when the books cannot be reached.
        """

    def acceptance(self) -> Callable[[SqliteBook, Moment], int]:
        """What is to be done in a transaction so that the clock's date is the ledger's day; it returns the day."""

    async def close(self) -> None:
        """Let go of it; the last of all calls."""
