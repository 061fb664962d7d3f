"""A loop that is held up says so."""

from __future__ import annotations

import asyncio
import time

from streamrouter.process.lag import LoopLag


async def test_it_tells_how_late_its_timer_was() -> None:
    told: asyncio.Queue[float] = asyncio.Queue()
    running = asyncio.create_task(LoopLag(told.put_nowait).run(0.001))
    assert await told.get() >= 0
    while not told.empty():
        told.get_nowait()
    await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251 - this is the fault that it is there for
    assert max(await told.get(), await told.get()) > 0.04
    running.cancel()
