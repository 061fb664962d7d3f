"""A key that is revoked, with its streams, through another process on the same database."""

from __future__ import annotations

import asyncio

from streamrouter.admin.verbs import Desk, perform
from streamrouter.clock import SystemClock
from streamrouter.config.schema import Config, LedgerConfig
from streamrouter.ledger.ledger import Ledger
from streamrouter.process.elsewhere import Elsewhere


async def opened(url: str) -> Ledger:
    return await Ledger.open(url, config=LedgerConfig(), clock=SystemClock(), on_fatal=lambda why: None)


async def test_its_streams_are_stopped_here_too_and_those_of_others_are_not(database: str) -> None:
    here, there = await asyncio.gather(opened(database), opened(database))
    stopped: asyncio.Queue[str] = asyncio.Queue()

    def stop(key_id: str) -> int:
        stopped.put_nowait(key_id)
        return 1

    running = asyncio.create_task(Elsewhere(here, stop).run())
    desk = Desk(there, Config())
    await perform(desk, "user.create", {"user": "a"})
    first, second = [(await perform(desk, "key.create", {"user": "a"}))["id"] for _ in range(2)]
    await perform(desk, "key.revoke", {"id": first})
    await perform(desk, "key.revoke", {"id": second, "now": True})
    async with asyncio.timeout(10):
        assert await stopped.get() == second
        await perform(desk, "key.revoke", {"id": first, "now": True})  # only now
        assert await stopped.get() == first
    running.cancel()
    await here.close()
    await there.close()
