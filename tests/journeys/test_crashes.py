"""The crash harness: kill -9 of a real server at random moments under streams; the books never lie about it.

10 kills on a push; 50 kills under 10,000 streams and more in the long profile (STREAMROUTER_LONG=1). The named steps
(before a reserve is committed, between, after a settlement) are in test_kill.py.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.profile import LONG, scaled
from tests.support.rig import Rig, call, holds, rig, until
from tests.support.upstream import DONE, Seen, delta, event, usage

KILLS = scaled(10, 50)
STREAMS = scaled(20, 260)  # begun before a kill, at least
CLIENTS = 16
EVENT = 10  # tokens of one event
BLOCK = 256
PROMPT = 10


class Told:
    """What left the upstream and what reached a client, by request id."""

    def __init__(self) -> None:
        self.upstream: dict[str, int] = {}  # tokens of streams that the upstream finished
        self.got: Counter[str] = Counter()
        self.whole: set[str] = set()  # the client has [DONE]

    async def script(self, seen: Seen) -> None:
        """Between 0 and 60 events of ten tokens, at a random pace."""
        events = random.randrange(61)
        await seen.head_sse()
        for _ in range(events):
            await seen.chunk(delta(" token" * EVENT))
            await asyncio.sleep(random.random() * 0.004)
        await seen.chunk(delta(None, finish="stop"))
        self.upstream[seen.headers["x-request-id"]] = events * EVENT
        await seen.chunk(event({"choices": [], "usage": usage(PROMPT, events * EVENT)}) + DONE)
        await seen.end()

    async def client(self, rigged: Rig) -> None:
        """Stream after stream, until the server is gone."""
        while True:
            try:
                async with rigged.ask(call(max_tokens=1000)) as response:
                    name, tail = response.headers["x-request-id"], b""
                    self.got[name] += 0
                    while piece := await response.content.readany():
                        data = tail + piece
                        cut = data.rfind(b"\n") + 1
                        self.got[name] += data[:cut].count(b" token")
                        tail = data[cut:]
                        if b"[DONE]" in data[:cut]:
                            self.whole.add(name)
            except (aiohttp.ClientError, OSError, KeyError):
                return


def judge(told: Told, rows: dict[str, dict[str, Any]]) -> Counter[str]:
    """How the holds ended; every one of them against what was told."""
    ends: Counter[str] = Counter()
    assert told.got.keys() <= rows.keys(), "a byte left without a committed hold"
    for name, row in rows.items():
        ends[row["state"]] += 1
        delivered = told.got[name]
        if row["state"] == "settled":
            assert row["usage_source"] == "upstream"
            assert (row["s_input"], row["s_output"]) == (PROMPT, told.upstream[name]), row
            assert delivered <= row["s_output"]
        elif row["state"] == "recovered":
            assert row["s_input"] == PROMPT
            assert 0 <= row["s_output"] - delivered <= BLOCK * 3 // 2 + EVENT, (row, delivered)
        else:
            assert row["state"] == "released" and delivered == 0, row
    return ends


@pytest.mark.parametrize("seed", range(KILLS))
async def test_a_kill_at_random(tmp_path: Path, seed: int) -> None:
    random.seed(seed)
    told = Told()
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = told.script
        clients = [asyncio.create_task(told.client(rigged)) for _ in range(CLIENTS)]
        await until(lambda: len(told.got) >= STREAMS, "streams have begun", 60)
        await asyncio.sleep(random.random() * 0.3)
        rigged.server.kill()
        await asyncio.gather(*clients)
        for _ in range(2):  # recovered by the first start, found as it is by the second
            rigged.server.start()
            books = rigged.admin("ledger.check")
            rows = {row["id"]: row for row in holds(rigged.server.ledger)}
            ends = judge(told, rows)
            used = rigged.usage()
            assert books["ok"]
            assert (used["in_flight"], used["output"]["reserved"]) == (0, 0)
            assert used["output"]["used"] == sum(row["s_output"] for row in rows.values())
            assert 1 <= ends["recovered"] <= CLIENTS
            rigged.server.kill()
    if LONG:
        print(json.dumps({"seed": seed, "streams": len(rows), **ends}))  # pytest -s shows it
