"""The server: our own listening sockets and accept loop, with hypercorn's protocol layers behind them (http1.py).

Listening sockets are made here (``TCP_USER_TIMEOUT``, ``SO_SNDBUF``), and draining is ours: hypercorn's graceful time
is 3 s, and its shutdown cuts streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig
from starlette.types import ASGIApp

from streamrouter.config.schema import ServerConfig
from streamrouter.server.http1 import ClientProtocol, Connection
from streamrouter.server.http2 import STREAMS_AT_ONCE
from streamrouter.server.unread import READ_BYTES
from streamrouter.tls import listening

SEND_BUFFER_BYTES = 64 * 1024
MAX_HEAD_BYTES = 32 * 1024
BACKLOG = 2048


def listen(host: str, port: int, stalled_client_s: float) -> list[socket.socket]:
    """Listening sockets for every address of ``host``; accepted ones inherit what is set here.

    ``TCP_USER_TIMEOUT`` closes a client that takes nothing for ``stalled_client_s`` (Linux); ``SO_SNDBUF`` bounds what
    it can make us hold. Raises OSError when the address cannot be had.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        sock = socket.socket(family, kind, protocol)
        if made and port == 0:  # a port of the system's choice is one port for all addresses
            address = (address[0], made[0].getsockname()[1], *address[2:])
        made.append(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_client_s * 1000))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError:
            for opened in made:
                opened.close()
            raise
        sock.setblocking(False)
    return made


class Server:
    """Accepts on ``sockets`` and serves ``app`` until it is closed and drained."""

    def __init__(self, app: ASGIApp, config: ServerConfig, sockets: list[socket.socket]) -> None:
        self._wrapped = ASGIWrapper(app)  # type: ignore[arg-type]
        self._sockets = sockets
        self._hypercorn = HypercornConfig()
        self._hypercorn.include_server_header = False
        self._hypercorn.accesslog = None
        self._hypercorn.errorlog = None
        self._hypercorn.keep_alive_timeout = config.idle_timeout_s
        self._hypercorn.keep_alive_max_requests = 1_000_000_000
        self._hypercorn.h11_max_incomplete_size = MAX_HEAD_BYTES
        self._hypercorn.h2_max_concurrent_streams = STREAMS_AT_ONCE
        self._hypercorn.h2_max_header_list_size = MAX_HEAD_BYTES
        self._stalled_s = config.stalled_client_s
        self._tls = listening(config.tls_cert, config.tls_key, http2=config.http2)
        self._context = WorkerContext(None)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._servers.append(await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG, **self._tls))

    def _protocol(self) -> ClientProtocol:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = ClientProtocol(reader, lambda r, w: self._accepted(r, w, protocol), loop=loop)
        return protocol

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ClientProtocol) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self._wrapped, loop, self._hypercorn, self._context, {}, reader, writer)
        connection.client_protocol = protocol
        connection.stalled_s = self._stalled_s
        task = loop.create_task(connection.run())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close_listeners(self) -> None:
        """Accept no more; idle connections are closed, requests in flight go on."""
        for server in self._servers:
            server.close()
        await self._context.terminated.set()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until every connection is closed, at most ``timeout_s``; True if all are."""
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)
        return not self._connections

    async def abort(self) -> None:
        """Cut what is left."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*connections, return_exceptions=True)
