"""Two hundred streams at once: every byte arrives, in order, and the ledger says what the upstream says."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

from tests.support.rig import Reply, call, rig
from tests.support.upstream import DONE, Seen, delta, event, usage

STREAMS = 200
WORDS = ["alpha", " beta", " γάμμα", " 🙂", "\n", ' "quoted"', " data: [DONE]\n\n", "\\", " ", "終わり"]


def text_of(number: int) -> list[str]:
    """The deltas of one stream; no two streams say the same."""
    chosen = random.Random(number)
    return [f"<{number}>", *(chosen.choice(WORDS) for _ in range(chosen.randrange(5, 40)))]


async def test_two_hundred_streams_keep_every_byte_and_every_token(tmp_path: Path) -> None:
    reported: dict[str, tuple[int, int, int]] = {}
    all_there = asyncio.Event()

    async def script(seen: Seen) -> None:
        number = int(json.loads(seen.raw)["messages"][0]["content"])
        if len(rigged.seen) == STREAMS:
            all_there.set()
        await all_there.wait()
        deltas = text_of(number)
        body = b"".join(delta(text) for text in deltas) + delta(None, finish="stop")
        count = (1 + number % 8, len(deltas), number % 2)  # prompts have 8 tokens and more
        body += event({"choices": [], "usage": usage(*count)}) + DONE
        reported[seen.headers["x-request-id"]] = count
        await seen.head_sse()
        size = 1 + number * 7 % 600  # cut anywhere, inside of events and of characters
        for start in range(0, len(body), size):
            await seen.chunk(body[start : start + size])
            if start % 5 == 0:
                await asyncio.sleep(0)
        await seen.end()

    async with rig(tmp_path) as rigged:
        rigged.upstream.script = script

        async def one(number: int) -> Reply:
            return await rigged.post(call(messages=[{"role": "user", "content": str(number)}], max_tokens=100))

        replies = await asyncio.gather(*(one(number) for number in range(STREAMS)))
        for number, reply in enumerate(replies):
            assert reply.status == 200
            assert reply.content == "".join(text_of(number))
            assert reply.events[-1] == "[DONE]"
        charged = {h["id"]: (h["s_input"], h["s_output"], h["s_cached"]) for h in await rigged.settled()}
        assert charged == reported
        used = rigged.usage()
        assert used["input"]["used"] == sum(count[0] for count in reported.values())
        assert used["output"]["used"] == sum(count[1] for count in reported.values())
        assert (used["input"]["reserved"], used["output"]["reserved"], used["in_flight"]) == (0, 0, 0)
        assert rigged.upstream.most_open == STREAMS
