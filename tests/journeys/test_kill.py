"""kill -9: whatever the moment, the restart leaves no hold open and nothing that was delivered uncharged."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.leaving import ledger_locked
from tests.support.rig import Rig, call, rig, until
from tests.support.upstream import Seen, delta, streamed

STREAMS = 50
EVENT = 10  # tokens of one event, the largest there is
BLOCK = 256  # tokens of a lease
PROMPT = 10


async def flood(seen: Seen) -> None:
    """Tokens without end, a little apart."""
    await seen.head_sse()
    while True:
        await seen.chunk(delta(" token" * EVENT))
        await asyncio.sleep(0.002)


async def reading(rigged: Rig, got: dict[str, int]) -> None:
    """One client: counts the tokens that it gets, by request id, until the server is gone."""
    try:
        async with rigged.ask(call(max_tokens=4000)) as response:
            name, tail = response.headers["x-request-id"], b""
            while piece := await response.content.readany():
                data = tail + piece
                cut = data.rfind(b"\n") + 1
                got[name] = got.get(name, 0) + data[:cut].count(b" token")
                tail = data[cut:]
    except (aiohttp.ClientError, OSError):
        pass


def restarted(rigged: Rig) -> dict[str, dict[str, Any]]:
    """Start again on the same file; the holds by id, none of them open."""
    began = time.monotonic()
    rigged.server.start()
    assert time.monotonic() - began < 15  # promised: 1.5 s
    rows = {hold["id"]: hold for hold in rigged.holds()}
    assert all(hold["state"] != "open" for hold in rows.values())
    usage = rigged.usage()
    assert (usage["in_flight"], usage["input"]["reserved"], usage["output"]["reserved"]) == (0, 0, 0)
    assert usage["output"]["used"] == sum(hold["s_output"] for hold in rows.values())
    return rows


async def serves(rigged: Rig) -> None:
    """Ready, and a stream comes through."""
    rigged.upstream.script = streamed(["Hello"], prompt=PROMPT, output=1)
    assert rigged.server.get("/readyz")[0] == 200
    reply = await rigged.post(call())
    assert reply.status == 200, reply.text
    assert (reply.content, reply.events[-1]) == ("Hello", "[DONE]")


# -- F42: kill -9 -----------------------------------------------------------------------------------------------------


async def test_in_the_middle_of_fifty_streams(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = flood
        got: dict[str, int] = {}
        clients = [asyncio.create_task(reading(rigged, got)) for _ in range(STREAMS)]
        await until(lambda: len(got) == STREAMS and sum(got.values()) > 280 * STREAMS, "tokens arrive")
        rigged.server.kill()
        await asyncio.gather(*clients)
        rows = restarted(rigged)
        assert rows.keys() == got.keys()
        for name, delivered in got.items():
            hold = rows[name]
            assert (hold["state"], hold["usage_source"]) == ("recovered", "recovered")
            assert hold["s_input"] == PROMPT
            assert 0 <= hold["s_output"] - delivered <= BLOCK * 3 // 2 + EVENT
        await serves(rigged)


async def test_before_a_reserve_is_committed(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = flood
        with ledger_locked(rigged.server.ledger):
            client = asyncio.create_task(reading(rigged, {}))
            await asyncio.sleep(0.1)
            rigged.server.kill()
        await client
        assert restarted(rigged) == {}
        assert rigged.seen == []


async def test_after_a_settlement_is_committed(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        await serves(rigged)
        before = rigged.holds()
        rigged.server.kill()
        assert list(restarted(rigged).values()) == before
        assert (before[0]["state"], before[0]["s_input"], before[0]["s_output"]) == ("settled", PROMPT, 1)


async def test_while_a_settlement_waits_for_its_commit(tmp_path: Path) -> None:
    """The client has its [DONE], the file has no settlement yet: the lease is charged."""
    async with rig(tmp_path, ledger="lease_tokens = 32") as rigged:
        go = asyncio.Event()

        async def script(seen: Seen) -> None:
            await go.wait()
            await streamed([" token"] * 5, prompt=PROMPT, output=5)(seen)

        rigged.upstream.script = script
        client = asyncio.create_task(rigged.post(call(max_tokens=100)))
        await rigged.reached(1)
        with ledger_locked(rigged.server.ledger):
            go.set()
            reply = await client
            assert reply.events[-1] == "[DONE]"
            rigged.server.kill()
        hold = restarted(rigged)[reply.headers["x-request-id"]]
        assert (hold["state"], hold["s_input"], hold["s_output"]) == ("recovered", PROMPT, 32)
