"""A client that leaves a stream whose upstream is read on for the exact usage (docs/faults.md F32, policy drain)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.leaving import Client
from tests.support.rig import Rig, call, rig
from tests.support.upstream import DONE, Seen, delta, event, usage

DRAIN = 'on_disconnect = "drain"\ndrain_s = 0.5\ndrain_most = 2'


async def leave(rigged: Rig, count: int) -> None:
    """``count`` clients, one after the other, get a token and go."""
    for number in range(count):
        client = await Client.asking(rigged, call())
        await client.until(b" token")
        client.leave("rst")
        await asyncio.sleep(0.05 if number < count - 1 else 0)


async def test_f32_a_drained_stream_is_charged_by_its_usage(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" token"))
        await left.wait()
        await seen.chunk(delta(None, finish="stop") + event({"choices": [], "usage": usage(7, 5)}) + DONE)
        await seen.end()

    async with rig(tmp_path, upstream=DRAIN) as rigged:
        rigged.upstream.script = script
        await leave(rigged, 1)
        await asyncio.sleep(0.1)
        left.set()
        [hold] = await rigged.settled()
        assert (hold["end_reason"], hold["usage_source"]) == ("client_left", "upstream")
        assert (hold["s_input"], hold["s_output"]) == (7, 5)


async def test_f32_draining_is_bounded_in_number_and_in_time(tmp_path: Path) -> None:
    closed: list[float] = []
    loop = asyncio.get_running_loop()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" token"))
        began = loop.time()
        assert await seen.gone()
        closed.append(loop.time() - began)

    async with rig(tmp_path, upstream=DRAIN) as rigged:
        rigged.upstream.script = script
        await leave(rigged, 3)
        rows = await rigged.settled()
        assert [(row["end_reason"], row["usage_source"], row["s_output"]) for row in rows] == [
            ("client_left", "abort", 1)
        ] * 3
        first, *rest = closed  # the one for whom there was no room
        assert first < 0.4
        assert all(0.4 < each < 5 for each in rest)  # configured: 0.5 s
        await leave(rigged, 1)  # there is room again
        await rigged.settled()
        assert closed[-1] > 0.4
