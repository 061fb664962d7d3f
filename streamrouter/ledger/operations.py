"""What stands in the writer's queue: each operation changes the book on the writer's thread, and reports on the loop.

``urgent``: somebody waits for it, commit at once; the others ride with the next urgent one or go after 20 ms.
``kept``: it is true already (tokens were delivered) and is never dropped: while the file cannot be written it stays
queued, in order; the others are refused.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from streamrouter.errors import Refusal
from streamrouter.ledger import rules
from streamrouter.ledger.book import Moment, Needs
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.denials import Denied
from streamrouter.ledger.engine import Failed
from streamrouter.ledger.records import Hold, Reserve, Settled, Stored
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.endings import Ending, released

T = TypeVar("T")
log = logging.getLogger("streamrouter.ledger")


class Operation(ABC):
    """One entry of the queue."""

    urgent = True
    kept = False
    plain = False  # it does nothing but what the rules do: its rows are all that it sees and changes
    changes = True  # it may change something

    def wanted(self) -> bool:
        """False: nobody waits for it any more, and nothing is lost if it is not done."""
        return True

    def needs(self, needs: Needs) -> None:  # noqa: B027 - most need nothing that is known beforehand
        """Name the rows that it will look at (a plain one must)."""

    @abstractmethod
    def apply(self, book: SqliteBook, at: Moment) -> Any:
        """Change the book (writer's thread). It may be called again after a rollback."""

    @abstractmethod
    def done(self, outcome: Any) -> None:
        """It is durable (loop)."""

    @abstractmethod
    def failed(self, error: Exception) -> None:
        """It did not happen (loop)."""


class ReserveOperation(Operation):
    """A reserve; ``abandoned`` is told of a hold whose waiter had gone when it became durable."""

    plain = True

    def __init__(
        self, command: Reserve, future: asyncio.Future[Hold | Stored | Refusal], abandoned: Callable[[Hold], None]
    ):
        self._command = command
        self._future = future
        self._abandoned = abandoned

    def wanted(self) -> bool:
        return not self._future.cancelled()

    def needs(self, needs: Needs) -> None:
        needs.keys.add(self._command.key_id)

    def apply(self, book: SqliteBook, at: Moment) -> Hold | Denied | Stored:
        return rules.reserve(book, self._command, at)

    def done(self, outcome: Hold | Denied | Stored) -> None:
        if not self._future.cancelled():
            self._future.set_result(outcome.refusal() if isinstance(outcome, Denied) else outcome)
        elif isinstance(outcome, Hold):
            self._abandoned(outcome)

    def failed(self, error: Exception) -> None:
        if not isinstance(error, Refusal):
            log.error("reserve %s failed: %r", self._command.id, error)
            error = Refusal("ledger_unavailable", "The ledger could not book this request.", retry_after_s=1)
        if not self._future.cancelled():
            self._future.set_result(error)


class SettleOperation(Operation):
    """A settlement. ``settled`` is called once it is durable; ``future`` is for those who wait for that."""

    urgent = False
    kept = True
    plain = True

    def __init__(
        self,
        hold: Hold,
        ending: Ending,
        settled: Callable[[Hold, Ending, Settled], None] | None = None,
        future: asyncio.Future[Settled] | None = None,
        reply: bytes | None = None,
    ) -> None:
        """``reply``: the whole answer, to be given again to a repetition under the same Idempotency-Key."""
        self._hold = hold
        self._ending = ending
        self._settled = settled
        self._future = future
        self._reply = reply
        if future is not None:
            self.urgent = True

    def needs(self, needs: Needs) -> None:
        needs.keys.add(self._hold.key_id)
        needs.holds.add(self._hold.id)

    def apply(self, book: SqliteBook, at: Moment) -> Settled:
        if self._reply is not None:
            book.keep_reply(self._hold.id, self._reply)
        return rules.settle(book, self._hold.id, self._ending, at.now_ns)

    def done(self, outcome: Settled) -> None:
        if self._settled is not None:
            # By the loop, not from here: a fault in a log line or a metric must not stop the writer.
            asyncio.get_running_loop().call_soon(self._settled, self._hold, self._ending, outcome)
        if self._future is not None and not self._future.done():
            self._future.set_result(outcome)

    def failed(self, error: Exception) -> None:
        log.error("hold %s stays open until the next start recovers it: %r", self._hold.id, error)
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)


def release_operation(hold: Hold) -> SettleOperation:
    """Give back a hold that nobody took."""
    hold.closed = True
    return SettleOperation(hold, released("cancelled"))


class ExtendOperation(Operation):
    """A longer lease."""

    kept = True
    plain = True

    def __init__(self, hold: Hold, lease_output: int, urgent: bool) -> None:
        self._hold = hold
        self._lease_output = lease_output
        self.urgent = urgent

    def needs(self, needs: Needs) -> None:
        needs.keys.add(self._hold.key_id)
        needs.holds.add(self._hold.id)

    def apply(self, book: SqliteBook, at: Moment) -> int | None:
        return rules.extend(book, self._hold.id, self._lease_output)

    def done(self, outcome: int | None) -> None:
        if outcome is None:
            self._hold.lease_failed = True
        else:
            self._hold.lease = max(self._hold.lease, outcome)
        self._tell()

    def failed(self, error: Exception) -> None:
        log.error("the lease of hold %s was not extended: %r", self._hold.id, error)
        self._hold.lease_failed = True
        self._tell()

    def _tell(self) -> None:
        if self._hold.on_lease is not None and not self._hold.closed:
            asyncio.get_running_loop().call_soon(self._hold.on_lease)


class _Awaited(Operation, Generic[T]):
    def __init__(self, future: asyncio.Future[T]) -> None:
        self._future = future

    def wanted(self) -> bool:
        return not self._future.done()

    def done(self, outcome: T) -> None:
        if not self._future.done():
            self._future.set_result(outcome)

    def failed(self, error: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(error)


class AskOperation(_Awaited[T]):
    """A read that sees everything put before it."""

    changes = False

    def __init__(self, function: Callable[[Connection], T], future: asyncio.Future[T]) -> None:
        super().__init__(future)
        self._function = function

    def apply(self, book: SqliteBook, at: Moment) -> T | Failed:
        book.write()
        try:
            return self._function(book.connection)
        except (Refusal, LookupError, ValueError) as error:  # it changed nothing: the others need not begin again
            return Failed(error)


class CommandOperation(_Awaited[T]):
    """An act of administration."""

    def __init__(self, command: Callable[[SqliteBook, Moment], T], future: asyncio.Future[T]) -> None:
        super().__init__(future)
        self._command = command

    def apply(self, book: SqliteBook, at: Moment) -> T | Failed:
        """One that is refused before it changed anything is over with that; half done, the whole batch is undone."""
        book.write()
        before = book.connection.total_changes
        try:
            return self._command(book, at)
        except (Refusal, LookupError, ValueError) as error:
            book.write()
            if book.connection.total_changes != before:
                raise
            return Failed(error)
