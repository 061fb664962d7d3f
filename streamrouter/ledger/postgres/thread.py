"""The thread of the one connection: whole functions are its unit of work, in the order that they are asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Thread:
    """A daemon: a process that must stop at once cannot wait for one that is stuck."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger connection", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` there; its result or exception is ours. Whoever stops waiting does not stop it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((function, future))
        return await future

    def stop(self) -> None:
        """Let it end after what it was asked so far."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            try:
                result, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - handed to whoever waits for it
                result, error = None, raised
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_tell, future, result, error)
            del job, future, function, result, error  # nothing of it is kept while waiting for the next one


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
