"""A write to the ledger's file that the kernel refuses (reliability.md F45), in a real server process."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

import aiohttp
import pytest

from streamrouter.process.run import EXIT_FATAL
from tests.support.rig import call, holds, rig
from tests.support.upstream import Seen, completion

PROMPT = 10


async def answer(seen: Seen) -> None:
    await seen.json(completion("x", PROMPT, 3))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of another process is set with prlimit")
async def test_f45_a_write_that_fails_stops_the_process_and_the_restart_recovers(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = answer
        assert (await rigged.post(call(False))).status == 200
        process = rigged.server.process
        assert process is not None
        # No byte beyond the first page of any file: SQLite sees EFBIG, which is an I/O error to it and no full disk.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with pytest.raises(aiohttp.ClientError):
            await rigged.post(call(False))
        assert await asyncio.to_thread(process.wait, 10) == EXIT_FATAL
        rigged.server.kill()
        await asyncio.to_thread(rigged.server.start)
        assert rigged.usage()["in_flight"] == 0
        assert rigged.admin("ledger.check")["ok"]
        assert (await rigged.post(call(False))).status == 200
        assert [row["state"] for row in holds(rigged.server.ledger)] == ["settled", "settled"]
