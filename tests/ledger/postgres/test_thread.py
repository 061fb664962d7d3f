from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from streamrouter.ledger.postgres.thread import Thread


@pytest.fixture
async def thread() -> AsyncIterator[Thread]:
    made = Thread()
    yield made
    made.stop()


async def test_functions_run_in_order_on_one_other_thread(thread: Thread) -> None:
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        return threading.get_ident()

    idents = await asyncio.gather(*(thread.run(lambda n=n: note(n)) for n in range(20)))  # type: ignore[misc]
    assert seen == list(range(20))
    assert len(set(idents)) == 1 and idents[0] != threading.get_ident()


async def test_what_is_raised_is_raised_here(thread: Thread) -> None:
    def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await thread.run(wrong)
    assert await thread.run(lambda: 1) == 1


async def test_whoever_stops_waiting_does_not_stop_it(thread: Thread) -> None:
    free, done = threading.Event(), threading.Event()

    def work() -> None:
        free.wait(5)
        done.set()

    task = asyncio.create_task(thread.run(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    free.set()
    assert await thread.run(done.is_set)


async def test_it_ends_when_it_is_stopped() -> None:
    thread = Thread()
    found = await thread.run(threading.current_thread)
    thread.stop()
    found.join(5)
    assert not found.is_alive() and found.daemon
