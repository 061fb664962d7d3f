"""The writer: one task that commits what waits, in the order it came (docs/ledger.md "The writer").

Natural group commit: a batch is whatever arrived during the previous commit, and what the loop has at hand already; no
timer delays a reserve. While the file cannot be written, what is already true (settlements, leases) stays queued and is
tried again, and everything else is refused at once. An I/O error or a damaged file stops the process: nothing is ever
served unmetered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from streamrouter.errors import Refusal
from streamrouter.ledger.engine import Committed, Failed
from streamrouter.ledger.operations import Operation, ReserveOperation
from streamrouter.ledger.verdicts import DATABASE_ERRORS, Verdict, told, verdict

BATCH = 256  # operations a commit: at 128 in flight the cost per request no longer falls
LAZY_S = 0.020  # how long a settlement waits for a reserve to ride with
RETRY_S = 0.25
GATHER_TURNS = 4  # of the loop: from a socket that is ready to its operation here it takes three
GATHER_S = 0.001  # but no longer, where the turns of the loop are long
FEW = 4  # operations, below which no batch is taken for all that comes
_FULL = "the disk of the ledger is full"
log = logging.getLogger("streamrouter.ledger")


class _Fatal(Exception):
    """The process must stop; the text says why."""


class Writer:
    """``commit`` runs a batch on the connection's thread; ``committed`` is called on the loop before the outcomes are
    told; ``on_fatal`` once, when the process must exit.
    """

    def __init__(
        self,
        commit: Callable[[list[Operation]], Awaitable[Committed]],
        committed: Callable[[Committed], None],
        on_fatal: Callable[[str], None],
        max_waiting: int,
    ) -> None:
        self._commit = commit
        self._committed = committed
        self._on_fatal = on_fatal
        self._max_waiting = max_waiting
        self._reserves = 0
        self._usual = FEW  # as many as in the largest batch lately: more are not waited for
        self._queue: deque[Operation] = deque()
        self._loop = asyncio.get_running_loop()
        self._go = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._dead = False
        self.trouble: str | None = None
        self._failing = False
        self._doubtful = False
        self._task = asyncio.create_task(self._run(), name="ledger writer")
        self._task.add_done_callback(self._ended)

    @property
    def queue_length(self) -> int:
        """Operations that wait for a commit (those of the running one not counted)."""
        return len(self._queue)

    def put(self, operation: Operation, *, first: bool = False) -> None:
        """Queue an operation; it is told its outcome later, or at once that it is refused.

        ``first``: before what waits already (a hold that nobody took must not stand in the way of the next reserve).
        """
        if self._dead:
            operation.failed(unavailable())
            return
        if not operation.kept and (self._closing or self.trouble is not None):
            operation.failed(unavailable())
            return
        if isinstance(operation, ReserveOperation):
            if self._reserves >= self._max_waiting:
                operation.failed(_overloaded(self._reserves))
                return
            self._reserves += 1
        if first:
            self._queue.appendleft(operation)
        else:
            self._queue.append(operation)
        if operation.urgent:
            self._go.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(LAZY_S, self._go.set)

    def examine(self) -> None:
        """Find out whether the books can be written: there may be trouble that no operation has met yet."""
        self._doubtful = True
        self._go.set()

    async def close(self, timeout_s: float) -> bool:
        """Commit what waits and stop. False: something is still unwritten after ``timeout_s``."""
        self._closing = True
        self._go.set()
        await asyncio.wait({self._task}, timeout=timeout_s)
        left = len(self._queue)
        self._task.cancel()
        await asyncio.wait({self._task})
        self._stop_timer()
        return not left

    async def _run(self) -> None:
        while self._queue or not self._closing:
            await self._until_due()
            await self._gather()
            batch = self._take()
            if batch or self._doubtful or self.trouble is not None:  # an empty batch finds out how things are
                self._doubtful = False
                await self._write(batch)

    async def _until_due(self) -> None:
        if self.trouble is None:
            await self._go.wait()
        elif self._failing:
            await asyncio.sleep(RETRY_S)
        else:  # a full disk on which settlements land: they go as always, and now and then the ballast is tried again
            with suppress(TimeoutError):
                await asyncio.wait_for(self._go.wait(), RETRY_S)

    async def _gather(self) -> None:
        """Let what the sockets have brought already come along: one commit for it instead of two or three.

        No timer: an idle loop goes through its turns in microseconds.
        """
        until = self._loop.time() + GATHER_S
        for _ in range(GATHER_TURNS):
            if len(self._queue) >= self._usual:
                break
            await asyncio.sleep(0)
            if self._loop.time() >= until:
                break

    def _take(self) -> list[Operation]:
        self._stop_timer()
        self._go.clear()
        batch: list[Operation] = []
        while self._queue and len(batch) < BATCH:
            operation = self._queue.popleft()
            if isinstance(operation, ReserveOperation):
                self._reserves -= 1
            if operation.wanted():
                batch.append(operation)
        if self._queue or self._closing:
            self._go.set()
        self._usual = max(FEW, len(batch), self._usual - 1)
        return batch

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self, batch: list[Operation]) -> None:
        try:
            committed = await self._commit(batch)
        except DATABASE_ERRORS as error:
            self._undone(batch, error)
            return
        self._failing = False
        self._committed(committed)
        if self.trouble is not None and committed.ballast_held:
            log.warning("the ledger can be written again")
            self.trouble = None
        elif not committed.ballast_held:
            self._refuse_others(_FULL)
        for number, (operation, outcome) in enumerate(zip(batch, committed.outcomes, strict=True)):
            if not isinstance(outcome, Failed):
                operation.done(outcome)
            elif verdict(outcome.error) is Verdict.FAULT:
                operation.failed(outcome.error)
            else:
                self._undone(batch[number:], outcome.error)
                break

    def _undone(self, batch: list[Operation], error: Exception) -> None:
        """A batch that did not happen: what is true already goes back to the head of the queue, the rest is refused."""
        judged = verdict(error)
        if judged is Verdict.FATAL or judged is Verdict.FAULT:
            self._queue.extendleft(reversed(batch))
            raise _Fatal(f"{told(error)[0]} failed: {error}")
        self._failing = True
        subject, shown = told(error)
        reason = _FULL if judged is Verdict.FULL else f"{subject} cannot be written: {shown}"
        if self.trouble is None and shown != str(error):
            log.error("%s cannot be written: %s", subject, error)
        self._queue.extendleft(reversed(batch))
        self._refuse_others(reason)

    def _refuse_others(self, reason: str) -> None:
        if self.trouble is None:
            log.error("%s; new requests are refused until it can be written", reason)
        self.trouble = reason
        waiting, self._queue, self._reserves = self._queue, deque(), 0
        for operation in waiting:
            if operation.kept:
                self._queue.append(operation)
            else:
                operation.failed(unavailable())

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._stop_timer()
        if self._closing and (task.cancelled() or task.exception() is None):
            self._die("the server has stopped")
            return
        error = None if task.cancelled() else task.exception()
        reason = str(error) if isinstance(error, _Fatal) else f"the ledger's writer died: {error!r}"
        self._die(reason)
        self._on_fatal(reason)

    def _die(self, reason: str) -> None:
        self._dead = True
        self.trouble = reason
        while self._queue:
            self._queue.popleft().failed(unavailable())


def unavailable() -> Refusal:
    """What everybody is told while the books cannot be written."""
    message = "The ledger cannot be written at the moment, so no request is admitted. Try again soon."
    return Refusal("ledger_unavailable", message, retry_after_s=1)


def _overloaded(waiting: int) -> Refusal:
    message = f"{waiting} requests already wait to be admitted. Try again in a second."
    return Refusal("overloaded", message, retry_after_s=1)
