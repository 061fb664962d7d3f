"""The server: our own listening sockets; plain requests are ours (``plain.py``), hypercorn has all else (``http1.py``).

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
from streamrouter.server.accepting import Acceptor
from streamrouter.server.heads import MOST_HEAD_BYTES
from streamrouter.server.http1 import ClientProtocol, Connection
from streamrouter.server.http2 import STREAMS_AT_ONCE
from streamrouter.server.plain import House, Keeper, PlainConnection
from streamrouter.server.unread import READ_BYTES
from streamrouter.tls import listening, renew

SEND_BUFFER_BYTES = 64 * 1024


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
            tune(sock, stalled_client_s)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError:
            for opened in made:
                opened.close()
            raise
        sock.setblocking(False)
    return made


def tune(sock: socket.socket, stalled_client_s: float) -> None:
    """Set what accepted connections inherit, also on a socket that somebody else has bound."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_client_s * 1000))


class Server:
    """Accepts on ``sockets`` and serves ``app`` until it is closed and drained.

    ``clients``: connections between two requests that another process was given (``close_listeners``).
    """

    def __init__(
        self,
        app: ASGIApp,
        config: ServerConfig,
        sockets: list[socket.socket],
        clients: list[socket.socket] | None = None,
    ) -> None:
        self._clients = clients or []
        self._app = app
        self._wrapped = ASGIWrapper(app)  # type: ignore[arg-type]
        self._sockets = sockets
        self._hypercorn = HypercornConfig()
        self._hypercorn.include_server_header = False
        self._hypercorn.accesslog = None
        self._hypercorn.errorlog = None
        self._hypercorn.keep_alive_timeout = config.idle_timeout_s
        self._hypercorn.keep_alive_max_requests = 1_000_000_000
        self._hypercorn.h11_max_incomplete_size = MOST_HEAD_BYTES
        self._hypercorn.h2_max_concurrent_streams = STREAMS_AT_ONCE
        self._hypercorn.h2_max_header_list_size = MOST_HEAD_BYTES
        self._stalled_s = config.stalled_client_s
        self._tls = listening(config.tls_cert, config.tls_key, http2=config.http2)
        self._context = WorkerContext(None)
        self._acceptors: list[Acceptor] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept from now on."""
        self._house = house = House(self._app, self._hypercorn, self._hand_over)
        for sock in self._sockets:
            acceptor = Acceptor(sock, lambda: PlainConnection(house), self._tls)
            acceptor.start()
            self._acceptors.append(acceptor)
        while self._clients:
            await self._adopt(self._clients.pop())

    async def _adopt(self, client: socket.socket) -> None:
        if self._tls:  # it was never encrypted: this server would not understand it
            client.close()
            return
        with contextlib.suppress(OSError):  # it left meanwhile
            await asyncio.get_running_loop().connect_accepted_socket(lambda: PlainConnection(self._house), client)

    def renew_certificate(self, cert: str | None, key: str | None) -> None:
        """Show the certificate in these files to connections from now on. Raises OSError: the old one goes on."""
        if cert and key and self._tls:
            renew(self._tls["ssl"], cert, key)

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Hypercorn's layers take a connection, and what it has sent that nobody has read."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = ClientProtocol(reader, lambda r, w: self._accepted(r, w, protocol), loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: ClientProtocol) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self._wrapped, loop, self._hypercorn, self._context, {}, reader, writer)
        connection.client_protocol = protocol
        connection.stalled_s = self._stalled_s
        task = loop.create_task(connection.run())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close_listeners(self, keeper: Keeper | None = None) -> None:
        """Accept no more; idle connections are closed, requests in flight go on.

        With a ``keeper`` connections are given to it rather than closed, where that can be (plain.py). Whoever else has
        the listening sockets open keeps what waits in them.
        """
        for acceptor in self._acceptors:
            acceptor.close()
        self._house.drain(keeper)
        await self._context.terminated.set()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until every connection is closed, at most ``timeout_s``; True if all are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._house.empty()
                if self._connections:
                    await asyncio.wait(self._connections)
        return not self._connections and not self._house.connections

    async def abort(self) -> None:
        """Cut what is left."""
        await self._house.abort()
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*connections, return_exceptions=True)
