"""Listening sockets, draining and the end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from streamrouter.relay.sink import Sink
from streamrouter.server.server import listen
from tests.support.encrypted import certificate
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
        client, idle = await running.connect(GET), await running.connect()
        await client.reader.readuntil(b"a\r\n")
        await running.server.abort()
        assert await running.server.drained(0)
        assert await client.rest() == b""
        assert await idle.rest() == b""


async def test_who_was_not_told_of_the_end_may_ask_once_more() -> None:
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await go.wait()
        sink.end(b"b")

    async with serving(Application(play)) as running:
        client = await running.connect(GET)
        assert b"connection: close" not in await client.reader.readuntil(b"a\r\n")
        await running.server.close_listeners()
        go.set()
        await client.reader.readuntil(b"0\r\n\r\n")
        client.send(GET)
        assert b"connection: close" in await client.rest()


async def test_connections_between_two_requests_are_given_away_with_what_waits_in_them() -> None:
    kept: list[socket.socket] = []
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await go.wait()
        sink.end(b"b")

    def keep(client: socket.socket) -> bool:
        kept.append(client.dup())
        return True

    async with serving(Application(play)) as before:
        idle, busy, begun = await before.connect(), await before.connect(GET), await before.connect(GET[:9])
        await busy.reader.readuntil(b"a\r\n")
        assert await before.server.drained(0) is False
        await before.server.close_listeners(keep)
        assert len(kept) == 1
        idle.send(GET)
        go.set()
        begun.send(GET[9:])
        for client in (busy, begun):
            assert b"connection: close" not in await client.reader.readuntil(b"b\r\n0\r\n\r\n")
        assert await before.server.drained(5)
        assert len(kept) == 3
        async with serving(Application(), clients=kept) as after:
            assert (await idle.reader.readuntil(b"world\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200")
            for client in (busy, begun):
                client.send(GET)
                await client.reader.readuntil(b"world\r\n0\r\n\r\n")
            assert after.server is not before.server


async def test_a_server_with_tls_does_not_go_on_with_what_was_never_encrypted(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    cert, key = certificate(tmp_path)
    with ours:
        async with serving(Application(), clients=[theirs], tls_cert=cert, tls_key=key):
            assert ours.recv(1) == b""


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
