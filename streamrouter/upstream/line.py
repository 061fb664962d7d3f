"""One endpoint's connections, and the shortest way to ask over them: aiohttp's protocol and parser, no session.

``ClientSession.request`` builds a URL, a header map, cookies, a payload, a task that writes it and a response object
for every request. For one POST to one address nearly all of that is the same each time: ``Line`` makes aiohttp's own
request once, keeps the head that it would send, and writes head and body in one go (70 us less a request, measured).
What leaves is tested against what a session sends (tests/upstream/test_line.py).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.http_writer import _serialize_headers
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from streamrouter.upstream.exchange import reached
from streamrouter.upstream.push import PushConnector, PushHandler
from streamrouter.upstream.spare import Spares

reused: ContextVar[bool] = ContextVar("reused", default=False)  # did this task's request get a spare connection?
_KEEPALIVE_S = 15.0  # shorter than the pools of common servers and balancers: fewer stale connections
_READ_BYTES = 64 * 1024
_ONE_WRITE = 64 * 1024  # below it head and body are put together; above it a copy costs more than a second buffer
_LINE_BYTES = 8190  # aiohttp's own limits of an answer's head
_MOST_HEADERS = 128
RECEIVE_BYTES = 64 * 1024  # the kernel doubles it for its own needs


def small_socket(found: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, object]) -> socket.socket:
    """A socket whose single read is bounded: what one brings is with us whole while a client does not take it."""
    made = socket.socket(*found[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    return made


def hang_up(connection: Connection) -> None:
    """Close. What has not left is dropped: else it would stay until an upstream reads that does not."""
    transport = connection.transport
    if transport is not None and transport.get_write_buffer_size():
        transport.abort()
    connection.close()


class Answered:
    """An answer whose headers are here. Its connection goes back to the pool when the body is whole."""

    __slots__ = ("_connection", "_give_back", "content", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        status: int,
        headers: CIMultiDictProxy[str],
        content: StreamReader,
        give_back: Callable[[Connection], None],
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._connection: Connection | None = connection
        self._give_back = give_back
        content.on_eof(self._release)

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is not None and transport.get_write_buffer_size():  # it was answered before it was read
            hang_up(connection)
        else:
            self._give_back(connection)

    def close(self) -> None:
        """Hang up, unless the body is whole. Who still reads is told."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self.content.exception() is None:
                self.content.set_exception(aiohttp.ClientConnectionError("Connection closed"))
            hang_up(connection)

    def __del__(self) -> None:
        if self._connection is not None:  # cut short, and nobody who had to hang up
            hang_up(self._connection)


class Line:
    """One endpoint. ``keepalive`` False: every request has a connection of its own."""

    def __init__(self, url: str, headers: Mapping[str, str], connect_s: float, *, keepalive: bool) -> None:
        """Must be called on the running loop."""
        self._url = url
        self._headers = dict(headers)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, connect=connect_s)
        if not keepalive:
            self._headers[hdrs.CONNECTION] = "close"
        self._connector = PushConnector(
            limit=0, ttl_dns_cache=30, socket_factory=small_socket, force_close=not keepalive
        )
        self._spares = Spares(_KEEPALIVE_S if keepalive else 0)
        self._request: aiohttp.ClientRequest | None = None
        self._head = b""

    def _prepare(self) -> aiohttp.ClientRequest:
        """aiohttp's own request, made once: where it goes, and the head that it has. ValueError: no such address."""
        url = URL(self._url)
        if not url.host or url.scheme not in ("http", "https"):
            raise aiohttp.InvalidURL(self._url)
        request = aiohttp.ClientRequest(
            hdrs.METH_POST,
            url,
            headers=CIMultiDict(self._headers),
            skip_auto_headers=(hdrs.USER_AGENT,),
            loop=asyncio.get_running_loop(),
        )
        request.headers.popall(hdrs.CONTENT_LENGTH, None)
        request.headers.popall(hdrs.TRANSFER_ENCODING, None)
        self._head = self._head_without(request, {})
        self._request = request
        return request

    def _head_without(self, request: aiohttp.ClientRequest, headers: Mapping[str, str]) -> bytes:
        """The line's part of a head, up to where a request's own ``headers`` go, which stand in for its own."""
        kept = CIMultiDict(request.headers)
        for name in headers:
            kept.popall(name, None)
        return _serialize_headers(f"POST {request.url.raw_path_qs} HTTP/1.1", kept)[:-2]

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Ask; returns at the answer's headers. Raises what aiohttp raises, OSError, TimeoutError, ValueError.

        ``headers`` are this request's own, beside those of the line: ASCII, and without control characters.
        """
        request = self._request or self._prepare()
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        fixed = self._head if self._headers.keys().isdisjoint(headers) else self._head_without(request, headers)
        head = b"%b%bContent-Length: %d\r\n\r\n" % (fixed, own.encode("ascii"), len(body))
        connection = self._spares.take()
        reused.set(connection is not None)
        if connection is None:
            connection = await self._connector.connect(request, [], self._timeout)
        reached.set(True)
        try:
            self._write(connection, head, body)
            return await self._answer(connection)
        except BaseException:  # whatever it is: nobody reads on
            hang_up(connection)
            raise

    def _write(self, connection: Connection, head: bytes, body: bytes) -> None:
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_MOST_HEADERS,
        )
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        if len(body) < _ONE_WRITE:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    async def _answer(self, connection: Connection) -> Answered:
        protocol = connection.protocol
        assert isinstance(protocol, PushHandler)
        protocol.heard = False
        while True:
            try:
                message, payload = await protocol.read()
            except HttpProcessingError as error:
                raise aiohttp.ClientPayloadError(error.message) from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if protocol.heard:  # it had begun to answer: the connection was not stale, asking again may cost twice
                    reused.set(False)
                raise
            if message.code < 100 or message.code > 199 or message.code == 101:  # no interim answer
                return Answered(connection, message.code, message.headers, payload, self._spares.put)

    async def close(self) -> None:
        """Close every idle connection; no more are kept."""
        await self._connector.close()  # first: it aborts TLS that would wait for the other side's goodbye
        self._spares.close()
