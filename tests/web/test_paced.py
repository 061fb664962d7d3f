"""The stream that a doctor looks at: open to everybody, like a real one in its headers, few at once."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from streamrouter.errors import Refusal
from streamrouter.web.paced import EVENTS, PATH, PacedStream
from tests.support.asgi import scope_of


def request(query: bytes = b"") -> Request:
    return Request({**scope_of("GET", PATH), "query_string": query})


async def events(response: object) -> list[str]:
    assert isinstance(response, StreamingResponse)
    return [bytes(piece).decode() async for piece in response.body_iterator if not isinstance(piece, str)]


async def test_six_events_with_the_headers_of_a_stream() -> None:
    response = await PacedStream(0.0).watched(request())
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["content-type"].startswith("text/event-stream")
    assert await events(response) == [f'data: {{"event":{n},"of":{EVENTS}}}\n\n' for n in range(1, EVENTS + 1)]


async def test_plain_leaves_the_proxy_to_itself() -> None:
    assert "x-accel-buffering" not in (await PacedStream(0.0).watched(request(b"plain"))).headers


async def test_few_may_watch_at_once() -> None:
    paced = PacedStream(60.0, most=1)
    first = await paced.watched(request())
    assert isinstance(first, StreamingResponse)
    reading = aiter(first.body_iterator)
    await anext(reading)
    with pytest.raises(Refusal, match="Too many"):
        await paced.watched(request())
    waiting = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await paced.watched(request())  # one that left has made room
