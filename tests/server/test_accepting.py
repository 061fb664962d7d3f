"""Accepting, pausing where descriptors run out, and stopping without closing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import Iterator
from typing import cast

import pytest
import uvloop

from streamrouter.server.accepting import Acceptor, most_descriptors
from tests.ledger.books import until


class Hello(asyncio.Protocol):
    """Says hello, and goes with its client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # uvloop's is a Transport in all but name
        cast(asyncio.Transport, transport).write(b"hello")


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@contextlib.contextmanager
def descriptors(more: int) -> Iterator[None]:
    """Clients may get ``more`` descriptors from now on. Gaps below the highest one in use are filled meanwhile."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers = [os.dup(0)]
    while fillers[-1] <= highest:
        fillers.append(os.dup(0))
    free = fillers.pop()
    os.close(free)
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = next(limit for limit in range(free, free * 2 + 64) if limit - min(32, limit // 4) >= free + more)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
        for filler in fillers:
            os.close(filler)


async def every_one_is_served_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    greeted: list[bytes] = []
    with listening() as sock:
        acceptor = Acceptor(sock, Hello, {})
        acceptor.start()
        with descriptors(8):
            clients = [socket.create_connection(sock.getsockname()) for _ in range(8)]

            async def greet(client: socket.socket) -> None:
                client.setblocking(False)
                greeted.append(await loop.sock_recv(client, 100))
                client.close()

            tasks = [asyncio.create_task(greet(client)) for client in clients]
            await until(lambda: "descriptors run out" in caplog.text)
            await asyncio.gather(*tasks)
        acceptor.stop()
    assert greeted == [b"hello"] * 8
    assert caplog.text.count("descriptors run out") >= 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_where_descriptors_run_out_connections_wait(run: object, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert callable(run)
    run(every_one_is_served_in_the_end(caplog))


async def test_what_waits_in_a_stopped_socket_is_there_for_the_next() -> None:
    loop = asyncio.get_running_loop()
    with listening() as sock:
        first = Acceptor(sock, Hello, {})
        first.start()
        first.stop()
        with socket.create_connection(sock.getsockname()) as client:
            client.setblocking(False)
            second = Acceptor(sock, Hello, {})
            second.start()
            assert await loop.sock_recv(client, 100) == b"hello"
            second.stop()


def test_a_part_of_the_descriptors_is_never_given_to_clients() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with descriptors(4):
        assert most_descriptors() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit
