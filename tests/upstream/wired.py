"""What the tests of the real transport share: requests that are posted, scripts that are played, answers recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from streamrouter.errors import Upstreamed
from streamrouter.upstream.client import HttpExchange, HttpTransport
from tests.support.upstream import Script, Seen

BODY = b'{"model":"m"}'
KEY = "sk-provider-secret-0123456789"
Make = Callable[..., HttpTransport]


class Recorder:
    """A target that keeps what it is given, and when: ``log`` holds one entry per call."""

    def __init__(self, on_flush: Callable[[], None] | None = None) -> None:
        self.data = b""
        self.flushes = 0
        self.ends: list[Upstreamed | None] = []
        self.over = asyncio.Event()
        self.more = asyncio.Event()
        self.on_flush = on_flush

    def feed(self, data: bytes) -> None:
        assert data
        assert self.ends == []
        self.data += data

    def flush(self) -> None:
        self.flushes += 1
        self.more.set()
        if self.on_flush is not None:
            self.on_flush()

    def ended(self, fault: Upstreamed | None) -> None:
        self.ends.append(fault)
        self.over.set()

    async def until(self, size: int) -> None:
        async with asyncio.timeout(5):
            while len(self.data) < size:
                self.more.clear()
                await self.more.wait()


async def post(transport: HttpTransport) -> HttpExchange:
    async with asyncio.timeout(5):
        return await transport.send(BODY, {"x-request-id": "req_1"}, stream=True)


async def pushed(transport: HttpTransport) -> Recorder:
    """One request, its answer pushed to its end."""
    exchange, recorder = await post(transport), Recorder()
    exchange.push(recorder)
    async with asyncio.timeout(5):
        await recorder.over.wait()
    return recorder


async def fails(transport: HttpTransport) -> Upstreamed:
    with pytest.raises(Upstreamed) as caught:
        await post(transport)
    said = caught.value.message
    assert "127.0.0.1" not in said
    assert "http" not in said.replace("valid HTTP", "")
    return caught.value


def plays(*pieces: bytes, close: bool = False) -> Script:
    """Send the pieces, each after a turn of the loop."""

    async def play(seen: Seen) -> None:
        for piece in pieces:
            await seen.send(piece)
            await asyncio.sleep(0.01)
        if close:
            seen.writer.close()

    return play


async def drop(seen: Seen) -> None:
    seen.writer.close()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 10\r\n\r\n"
