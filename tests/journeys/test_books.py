"""Exactness under load: five hundred requests race for one cap, and thousands of mixed endings leave equal books."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.profile import scaled
from tests.support.rig import Rig, call, holds, rig, until
from tests.support.upstream import DONE, Seen, completion, delta, event, usage

module_loop = pytest.mark.asyncio(loop_scope="module")
PROMPT = 10
RACERS = 500
EACH = 100  # tokens that one of them may answer with
USD = 10 * 0.40e-6 + EACH * 1.60e-6
CAPS: dict[str, tuple[dict[str, Any], int, str]] = {
    "one daily cap": ({"daily_output": 40 * EACH}, 40, "daily_output_tokens_exceeded"),
    "one balance": ({"unlimited": False, "topup": f"{25 * USD:.9f}"}, 25, "insufficient_balance"),
    "one concurrency cap": ({"concurrency": 4}, 4, "concurrent_requests_exceeded"),
}


@module_loop
@pytest.mark.parametrize("run", range(scaled(2, 20)))
@pytest.mark.parametrize("name", CAPS)
async def test_five_hundred_at_once_get_exactly_what_fits(prepaid: Rig, name: str, run: int) -> None:
    caps, fits, code = CAPS[name]
    go = asyncio.Event()
    now, most = 0, 0

    async def held(seen: Seen) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go.wait()
        now -= 1
        await seen.json(completion("x", PROMPT, EACH))

    prepaid.upstream.script = held
    key = prepaid.user(**{"unlimited": True, **caps})
    before = len(prepaid.seen)
    tasks = [asyncio.create_task(prepaid.post(call(False, max_tokens=EACH), key)) for _ in range(RACERS)]
    await until(lambda: sum(task.done() for task in tasks) == RACERS - fits, "the others are refused", 20)
    await prepaid.reached(before + fits)
    go.set()
    replies = await asyncio.gather(*tasks)
    assert Counter(reply.status for reply in replies)[200] == fits
    assert {reply.error["code"] for reply in replies if reply.status != 200} == {code}
    assert (len(prepaid.seen) - before, most) == (fits, fits)
    used = prepaid.usage(prepaid.last_user)
    assert (used["output"]["used"], used["output"]["reserved"], used["in_flight"]) == (fits * EACH, 0, 0)


class Books:
    """The upstream's own books: how each request ended there and what it came to, by request id."""

    def __init__(self) -> None:
        self.kind: dict[str, str] = {}
        self.tokens: dict[str, int] = {}  # told as usage, or sent
        self.got: dict[str, int] = {}  # what a client that left had got

    async def script(self, seen: Seen) -> None:
        name, asked = seen.headers["x-request-id"], json.loads(seen.raw)
        kind = asked["metadata"]["kind"]
        self.kind[name] = kind
        tokens = self.tokens[name] = random.Random(name).randrange(1, 60)
        play: Callable[[Seen, int], Awaitable[None]] = getattr(self, "_" + kind.replace(" ", "_"))
        await play(seen, tokens)

    async def _whole(self, seen: Seen, tokens: int) -> None:
        await seen.json(completion("x", PROMPT, tokens))

    async def _finished(self, seen: Seen, tokens: int, told: bool = True) -> None:
        await seen.head_sse()
        for _ in range(tokens):
            await seen.chunk(delta(" token"))
        await seen.chunk(delta(None, finish="stop"))
        if told:
            await seen.chunk(event({"choices": [], "usage": usage(PROMPT, tokens, cached=tokens % PROMPT)}))
        await seen.chunk(DONE)
        await seen.end()

    async def _untold(self, seen: Seen, tokens: int) -> None:
        await self._finished(seen, tokens, told=False)

    async def _died(self, seen: Seen, tokens: int) -> None:
        await seen.head_sse()
        for _ in range(tokens):
            await seen.chunk(delta(" token"))
        seen.writer.close()  # in the middle of the chunked body

    async def _left(self, seen: Seen, tokens: int) -> None:
        await seen.head_sse()
        for sent in range(1, 151):
            if seen.reader.at_eof():
                return
            # Noted before it is written: the request may be settled, and its row read here, before this runs again.
            self.tokens[seen.headers["x-request-id"]] = sent
            await seen.chunk(delta(" token"))
            await asyncio.sleep(0.002)

    async def _refused(self, seen: Seen, tokens: int) -> None:
        await seen.json({"error": {"message": "no"}}, ("400 Bad Request", "429 Slow", "500 Oops")[tokens % 3])


KINDS = ("whole", "finished", "finished", "untold", "died", "left", "refused")


def judge(row: dict[str, Any], books: Books) -> None:
    """One hold against LEDGER's table of what is charged."""
    kind, tokens = books.kind[row["id"]], books.tokens[row["id"]]
    charged = (row["state"], row["usage_source"], row["s_input"], row["s_output"])
    if kind == "left":
        assert charged[:3] == ("settled", "abort", PROMPT), row
        assert books.got[row["id"]] <= row["s_output"] <= tokens, (row, tokens)
    elif kind == "refused":
        assert charged == ("released", "none", 0, 0), row
    else:
        source = {"untold": "local", "died": "partial"}.get(kind, "upstream")
        assert charged == ("settled", source, PROMPT, tokens), (kind, row)
        cached = tokens % PROMPT if kind == "finished" else 0
        cost = -(-((PROMPT - cached) * 400_000 + cached * 100_000 + tokens * 1_600_000) // 1000)
        assert (row["s_cached"], row["cost"], row["s_usd"]) == (cached, cost, cost), row
    assert (row["over_input"], row["over_output"]) == (0, 0)


async def test_mixed_endings_leave_the_upstreams_books_equal_to_ours(tmp_path: Path) -> None:
    total, clients = scaled(2000, 100_000), 32
    books, chosen = Books(), random.Random(7)
    async with rig(tmp_path, billing="prepaid", upstream="cooldown_s = 0.01") as rigged:
        rigged.upstream.script = books.script
        rigged.admin("topup", user="default", amount="1000")
        left = total

        async def client() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                kind = chosen.choice(KINDS)
                body = call(kind not in ("whole",), max_tokens=200, metadata={"kind": kind})
                async with rigged.ask(body) as response:
                    if kind != "left":
                        await response.read()
                        continue
                    name, got = response.headers["x-request-id"], 0
                    while got < 5:
                        got += (await response.content.readany()).count(b" token")
                    books.got[name] = got
                    response.close()
                rigged.seen.clear()

        await asyncio.gather(*(client() for _ in range(clients)))
        await until(lambda: rigged.usage()["in_flight"] == 0, "everything is settled", 10)
        rows = holds(rigged.server.ledger)
        assert {row["id"] for row in rows} == books.kind.keys() and len(rows) == total
        for row in rows:
            judge(row, books)
        used = rigged.usage()
        assert used["output"]["used"] == sum(row["s_output"] for row in rows)
        assert rigged.admin("ledger.check")["ok"]
        assert "internal_error" not in rigged.log()
