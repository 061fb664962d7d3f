"""Listening sockets, draining and the end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streamrouter.relay.sink import Sink
from streamrouter.server.server import listen
from tests.support.serving import GET, Application, serving


async def test_draining_lets_streams_end_and_closes_the_rest() -> None:
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await go.wait()
        sink.end(b"b")

    async with serving(Application(play)) as running:
        idle, busy = await running.connect(), await running.connect(GET)
        await busy.reader.readuntil(b"a\r\n")
        await running.server.close_listeners()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await running.connect()
        assert not await running.server.drained(0.01)
        go.set()
        assert await busy.rest() == b"1\r\nb\r\n0\r\n\r\n"
        assert await running.server.drained(5)


async def test_abort_cuts_what_is_left() -> None:
    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await asyncio.Event().wait()

    async with serving(Application(play)) as running:
        client = await running.connect(GET)
        await client.reader.readuntil(b"a\r\n")
        await running.server.close_listeners()
        await running.server.abort()
        assert await client.rest() == b""
        assert await running.server.drained(0)


async def test_what_a_listening_socket_is_set_to() -> None:
    [sock] = listen("127.0.0.1", 0, 2.5)
    with sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2500
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not sock.getblocking()
        sock.listen()
        with pytest.raises(OSError):
            listen("127.0.0.1", sock.getsockname()[1], 30)
