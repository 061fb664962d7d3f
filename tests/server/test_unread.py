"""A body that nobody takes: the response arrives, the connection goes, and nothing waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from tests.support.serving import GET, Application, serving

REFUSAL = b"no, thank you"
TINY = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000
LARGE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 8_000_000


class Refusing(Application):
    """Answers at once, or after ``taken`` messages of the body; reads nothing more."""

    def __init__(self, taken: int) -> None:
        super().__init__()
        self.taken = taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(self.taken):
            await receive()
        length = [(b"content-length", b"%d" % len(REFUSAL))]
        await send({"type": "http.response.start", "status": 413, "headers": length})
        await send({"type": "http.response.body", "body": REFUSAL})


@pytest.mark.parametrize("data", [TINY, LARGE], ids=["tiny chunks", "large"])
@pytest.mark.parametrize("taken", [0, 1, 30])
async def test_a_refusal_arrives_and_the_connection_goes(data: bytes, taken: int) -> None:
    async with serving(Refusing(taken)) as running:
        client = await running.connect(data)
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 413")
        assert got.endswith(REFUSAL)
        client.writer.close()
        assert await running.server.drained(5)


async def test_a_client_that_goes_on_sending_is_cut() -> None:
    async with serving(Refusing(0)) as running:
        client = await running.connect(TINY)
        assert REFUSAL in await client.rest()
        with pytest.raises(OSError):
            async with asyncio.timeout(20):
                while True:
                    client.send(b"1\r\nx\r\n")
                    await client.writer.drain()
                    await asyncio.sleep(0.05)
        assert await running.server.drained(5)


async def test_a_body_that_was_taken_leaves_the_connection_open() -> None:
    async with serving(Application()) as running:
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        client = await running.connect(post + post)
        for _ in range(2):
            _, chunks = await client.answer("POST")
            assert b"".join(chunks) == b"abc"


@pytest.mark.parametrize("data", [b"", GET])
async def test_a_client_that_closes_an_idle_connection_takes_it_with_it(data: bytes) -> None:
    async with serving(Application()) as running:
        client = await running.connect(data)
        if data:
            await client.answer()
        client.writer.close()
        assert await running.server.drained(2)  # configured: 75 s
