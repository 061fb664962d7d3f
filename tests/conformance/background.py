"""The scripted upstream on a loop of its own, so that one serves a module of tests, blocking clients among them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.support.upstream import ScriptedUpstream


@contextlib.contextmanager
def in_background() -> Iterator[ScriptedUpstream]:
    """A started upstream. Its scripts run in another thread: they wait for a test by ``until``."""
    upstream = ScriptedUpstream()
    ready = threading.Event()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with upstream:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=lambda: loop).run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def until(event: threading.Event, timeout_s: float = 10.0) -> bool:
    """In a script: wait until the test has set ``event``; False if it never does."""
    return await asyncio.to_thread(event.wait, timeout_s)
