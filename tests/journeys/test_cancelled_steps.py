"""A request whose task is cancelled at its n-th await, for every n; a client that leaves after its n-th message."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.inside import ClientEnd, Inside, ScriptedTransport, cancelled_at, inside
from tests.support.rig import call
from tests.support.upstream import DONE, completion, delta, event, usage

MOST_STEPS = 60
TOKENS = 30  # several leases of 4
LAST = [delta(None, finish="stop"), event({"choices": [], "usage": usage(7, TOKENS)}), DONE]
STREAM = [delta(None, role="assistant"), *(delta(" token") for _ in range(TOKENS)), *LAST]
BIG = [delta(" token"), delta(" token" * 20), delta(" token" * 9), *LAST]  # an event that must wait for its lease
WHOLE = [json.dumps(completion(" token" * TOKENS, 7, TOKENS)).encode()]
KINDS: dict[str, tuple[str, list[bytes], bool]] = {
    "a stream": ("text/event-stream", STREAM, True),
    "a stream with a large event": ("text/event-stream", BIG, True),
    "a whole answer where a stream was asked for": ("application/json", WHOLE, True),
    "a whole answer": ("application/json", WHOLE, False),
}


def delivered(client: ClientEnd) -> int:
    return client.got.count(b" token")


async def run(app: Inside, client: ClientEnd, step: int, late: bool) -> bool:
    """One request, cancelled at ``step``; False when it was over before."""
    counted: list[int] = []
    work: Any = app.app.asgi(app.scope(), client.receive, client.send)
    task = asyncio.create_task(_await(cancelled_at(step, late, work, counted)))
    try:
        async with asyncio.timeout(5):
            await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None
    finally:
        task.cancel()
    return counted[0] > step


async def _await(work: Any) -> None:
    await work


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "just done"])
@pytest.mark.parametrize("kind", KINDS)
async def test_cancelled_at_every_await(tmp_path: Path, kind: str, late: bool) -> None:
    media_type, pieces, stream = KINDS[kind]
    async with inside(tmp_path, ScriptedTransport(media_type, pieces)) as app:
        for step in range(MOST_STEPS):
            client, before = ClientEnd(call(stream, max_tokens=50)), len(app.transport.exchanges)
            cut = await run(app, client, step, late)
            hold = await app.check()
            if len(app.transport.exchanges) > before:
                exchange = app.transport.exchanges[-1]
                assert exchange.closed or exchange.ended, f"step {step}: the upstream is still open"
                assert hold["state"] == "settled"
                assert hold["s_output"] >= delivered(client), f"step {step}"
            if not cut:
                break
        assert not cut, "never came to its end"
        assert step > 4
        assert delivered(client) == TOKENS
        assert app.app.gateway.in_flight == {}


# -- F32, S17: after every message in turn ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][2]])
async def test_a_client_that_leaves_after_every_message(tmp_path: Path, kind: str) -> None:
    media_type, pieces, _ = KINDS[kind]
    async with inside(tmp_path, ScriptedTransport(media_type, pieces)) as app:
        for messages in range(MOST_STEPS):
            client = ClientEnd(call(max_tokens=50), leave_after=messages)
            async with asyncio.timeout(5):
                await app.app.asgi(app.scope(), client.receive, client.send)
            hold = await app.check()
            exchange = app.transport.exchanges[-1] if app.transport.exchanges else None
            assert exchange is None or exchange.closed or exchange.ended
            assert hold["s_output"] >= delivered(client), f"after {messages} messages"
            if b"[DONE]" in client.got:
                break
        assert client.got.endswith(DONE)
        assert hold["end_reason"] == "finished"
        assert hold["usage_source"] == "upstream"
