"""A request that ends at each point of its way in turn: no hold stays open, what was delivered is charged.

The same in steps of one await each, without sockets: test_cancelled_steps.py. By SIGTERM: test_drain.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.leaving import Client, black_hole, ledger_locked
from tests.support.rig import Rig, call, rig, until
from tests.support.upstream import DONE, Seen, delta, event, usage

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("how", ["fin", "rst"]),
]

CLOSED_WITHIN_S = 2.5  # ten times what is promised
PROMPT = 10
LONG = 600_000  # characters: counting takes long enough to leave meanwhile


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def leaving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with (
        black_hole() as port,
        rig(
            tmp_path_factory.mktemp("leaving"),
            ledger="lease_tokens = 8",
            upstream="idle_s = 0.5\nfirst_byte_s = 0.5",
            more=f'[upstreams.hole]\nbase_url = "http://127.0.0.1:{port}/v1"\nconnect_s = 3.0\n'
            '[models.hole]\nexact = true\ntargets = [{ upstream = "hole" }]\n'
            "[models.long]\nexact = true\ncontext_length = 10_000_000\n",
        ) as rigged,
    ):
        yield rigged


class Watched:
    """A script in steps: it says how far it is, waits for ``go``, and notes when its connection was closed."""

    def __init__(self, *steps: bytes, status: bool = True) -> None:
        self.steps = steps
        self.status = status
        self.played = asyncio.Event()
        self.go = asyncio.Event()
        self.closed_at = 0.0

    async def __call__(self, seen: Seen) -> None:
        if self.status:
            await seen.head_sse()
        for step in self.steps:
            await seen.chunk(step)
        self.played.set()
        if await seen.gone():
            self.closed_at = time.monotonic()

    async def closed_since(self, left_at: float) -> None:
        """Assert that the upstream connection was closed in time."""
        await until(lambda: self.closed_at, "the upstream connection is closed")
        assert self.closed_at - left_at < CLOSED_WITHIN_S


TOKENS = b"".join(delta(" token") for _ in range(5))


async def the_hold(leaving: Rig, before: int) -> dict[str, Any]:
    """The one hold that was made since there were ``before``, closed."""
    await until(lambda: len(leaving.holds()) > before, "the hold")
    rows = await leaving.settled()
    assert len(rows) == before + 1
    assert leaving.usage()["in_flight"] == 0
    assert leaving.usage()["output"]["reserved"] == 0
    return rows[-1]


# -- F32: a client that leaves, at each point in turn -----------------------------------------------------------------


async def test_before_the_body_is_whole(leaving: Rig, how: str) -> None:
    before, lines = len(leaving.holds()), leaving.log().count('"client_left"')
    client = await Client.asking(leaving, call(), unsent=10)
    await asyncio.sleep(0.02)
    client.leave(how)
    await until(lambda: leaving.log().count('"client_left"') > lines, "the log line")
    assert '"status":499' in leaving.log()
    assert len(leaving.holds()) == before


async def test_while_its_prompt_is_counted(leaving: Rig, how: str) -> None:
    leaving.upstream.script = script = Watched()
    before, reached = len(leaving.holds()), len(leaving.seen)
    content = f"some {how} words, " * (LONG // 16)  # a text that was counted before would be known
    client = await Client.asking(leaving, call(model="long", messages=[{"role": "user", "content": content}]))
    client.leave(how)
    left_at = time.monotonic()
    hold = await the_hold(leaving, before)
    assert (hold["state"], hold["end_reason"]) == ("released", "client_left")
    assert len(leaving.seen) == reached or script.closed_at - left_at < CLOSED_WITHIN_S


async def test_while_it_is_reserved(leaving: Rig, how: str) -> None:
    leaving.upstream.script = Watched()
    before, reached = len(leaving.holds()), len(leaving.seen)
    with ledger_locked(leaving.server.ledger):
        client = await Client.asking(leaving, call())
        await asyncio.sleep(0.05)
        client.leave(how)
        await asyncio.sleep(0.05)
    hold = await the_hold(leaving, before)
    assert (hold["state"], hold["end_reason"]) == ("released", "client_left")
    assert len(leaving.seen) == reached


async def test_while_it_connects(leaving: Rig, how: str) -> None:
    before = len(leaving.holds())
    client = await Client.asking(leaving, call(model="hole"))
    await asyncio.sleep(0.1)
    client.leave(how)
    left_at = time.monotonic()
    hold = await the_hold(leaving, before)
    assert time.monotonic() - left_at < CLOSED_WITHIN_S
    assert (hold["state"], hold["end_reason"]) == ("released", "client_left")  # nothing can have been sent


@pytest.mark.parametrize("answered", [False, True])
async def test_before_the_first_event(leaving: Rig, how: str, answered: bool) -> None:
    leaving.upstream.script = script = Watched(status=answered)
    before = len(leaving.holds())
    client = await Client.asking(leaving, call())
    await script.played.wait()
    await asyncio.sleep(0.02)
    client.leave(how)
    await script.closed_since(time.monotonic())
    hold = await the_hold(leaving, before)
    assert (hold["end_reason"], hold["s_input"], hold["s_output"]) == ("client_left", PROMPT, 0)


LAST = delta(None, finish="stop")
COUNT = event({"choices": [], "usage": usage(7, 5)})
MID: dict[str, tuple[tuple[bytes, ...], bytes, int, int, str]] = {
    # what the upstream has sent, what the client waits for, charged input and output, and how it is known
    "after the first event": ((delta(None, role="assistant"),), b"assistant", PROMPT, 0, "abort"),
    "in the middle": ((TOKENS,), b" token", PROMPT, 5, "abort"),
    "after the last token": ((TOKENS, LAST), b'"stop"', PROMPT, 5, "abort"),
    "after the usage": ((TOKENS, LAST, COUNT), b'"stop"', 7, 5, "upstream"),
    "after [DONE]": ((TOKENS, LAST, COUNT, DONE), b"[DONE]", 7, 5, "upstream"),
}


@pytest.mark.parametrize("point", MID)
async def test_during_the_stream(leaving: Rig, how: str, point: str) -> None:
    steps, awaited, tokens_in, tokens_out, source = MID[point]
    leaving.upstream.script = script = Watched(*steps)
    before = len(leaving.holds())
    client = await Client.asking(leaving, call())
    await client.until(awaited)
    await script.played.wait()
    await asyncio.sleep(0.02)
    client.leave(how)
    await script.closed_since(time.monotonic())
    hold = await the_hold(leaving, before)
    assert (hold["state"], hold["usage_source"]) == ("settled", source)
    assert (hold["s_input"], hold["s_output"]) == (tokens_in, tokens_out)
    assert hold["s_output"] >= client.delivered
    assert hold["end_reason"] == ("finished" if point == "after [DONE]" else "client_left")


async def test_while_a_longer_lease_is_waited_for(leaving: Rig, how: str) -> None:
    script = Watched()

    async def two_steps(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" token"))
        await script.go.wait()
        await seen.chunk(delta(" token" * 30))
        script.played.set()
        if await seen.gone():
            script.closed_at = time.monotonic()

    leaving.upstream.script = two_steps
    before = len(leaving.holds())
    client = await Client.asking(leaving, call())
    await client.until(b" token")
    with ledger_locked(leaving.server.ledger):
        script.go.set()
        await script.played.wait()
        await asyncio.sleep(0.05)
        client.leave(how)
        await script.closed_since(time.monotonic())
    assert client.delivered == 1
    hold = await the_hold(leaving, before)
    assert (hold["s_output"], hold["end_reason"]) == (31, "client_left")


DEADLINES: dict[str, tuple[tuple[bytes, ...], bool, int]] = {
    "no headers": ((), False, 504),
    "no event": ((), True, 504),
    "no further event": ((TOKENS,), True, 200),
}


@pytest.mark.parametrize("point", DEADLINES)
async def test_by_the_upstreams_deadline(leaving: Rig, how: str, point: str) -> None:
    steps, answered, status = DEADLINES[point]
    leaving.upstream.script = script = Watched(*steps, status=answered)
    before = len(leaving.holds())
    asked_at = time.monotonic()
    reply = await leaving.post(call(messages=[{"role": "user", "content": how}]))
    await script.closed_since(asked_at + 0.5)
    assert (reply.status, reply.error["code"]) == (status, "upstream_timeout")
    hold = await the_hold(leaving, before)
    assert hold["s_output"] == reply.text.count(" token")
    assert (hold["usage_source"], hold["s_input"]) == ("partial" if steps else "ambiguous", hold["r_input"])
