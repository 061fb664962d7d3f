"""Scripts for the upstream that more than one module plays."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tests.conformance.background import until
from tests.support.upstream import DONE, Script, Seen, delta


def answered(value: dict[str, Any], status: str = "200 OK", extra: str = "") -> Script:
    """A whole JSON answer."""

    async def play(seen: Seen) -> None:
        await seen.json(value, status, extra)

    return play


def played(*framed: bytes) -> Script:
    """A stream of these events."""

    async def play(seen: Seen) -> None:
        await seen.head_sse()
        for each in framed:
            await seen.chunk(each)
        await seen.end()

    return play


def broken_off(*framed: bytes) -> Script:
    """A stream of these events, then a reset in the middle of the body."""

    async def play(seen: Seen) -> None:
        await seen.head_sse()
        for each in framed:
            await seen.chunk(each)
        await seen.gone(0.05)
        seen.reset()

    return play


def held(release: threading.Event) -> Script:
    """A stream that says one word and goes on when the test says so."""

    async def play(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("Hel", role="assistant"))
        await until(release)
        await seen.chunk(delta("lo", finish="stop"))
        await seen.chunk(DONE)
        await seen.end()

    return play


def paused(silence_s: float) -> Script:
    """A stream that is silent before its first event and inside."""

    async def play(seen: Seen) -> None:
        await seen.head_sse()
        for framed in (delta("Hel", role="assistant"), delta("lo")):
            await asyncio.sleep(silence_s)
            await seen.chunk(framed)
        await seen.chunk(delta(None, finish="stop"))
        await seen.chunk(DONE)
        await seen.end()

    return play
