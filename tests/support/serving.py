"""Our server in this process on a port of its own, a small application behind it, and h11 on the client's side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send

from streamrouter.config.schema import ServerConfig
from streamrouter.relay.sink import Sink, sink_of
from streamrouter.server.server import Server, listen

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEADERS = [(b"content-type", b"text/event-stream"), (b"x-a", b"b")]
Play = Callable[[Sink], Awaitable[None]]


class Told:
    """A Reader that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def client_gone(self) -> None:
        self.calls.append("gone")

    def client_blocked(self) -> None:
        self.calls.append("blocked")

    def client_writable(self) -> None:
        self.calls.append("writable")


async def two_writes(sink: Sink) -> None:
    sink.start(200, HEADERS)
    sink.write(b"hello ")
    sink.end(b"world")


class Application:
    """``GET``: what ``play`` does with the sink. ``POST``: the body back, by plain ``send``."""

    def __init__(self, play: Play = two_writes) -> None:
        self.play = play
        self.scopes: list[Scope] = []
        self.sinks: list[Sink] = []
        self.told = Told()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["method"] == "POST":
            await self._echo(receive, send)
            return
        sink = sink_of(scope, receive, send)
        sink.reader = self.told
        self.sinks.append(sink)
        try:
            await self.play(sink)
        finally:
            await sink.close()

    async def _echo(self, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


class Client:
    """A connection with h11 on the client's side of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._h11 = h11.Connection(h11.CLIENT)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> tuple[h11.Response, list[bytes]]:
        """The next response: its head and the chunks of its body. Raises h11.RemoteProtocolError if it is cut."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        self._h11.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        self._h11.send(h11.EndOfMessage())
        head, chunks = None, []
        async with asyncio.timeout(5):
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    self._h11.receive_data(await self.reader.read(65536))
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    chunks.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    return head, chunks

    def stop_reading(self) -> None:
        """Leave what comes in the socket."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    def read_again(self) -> None:
        cast(asyncio.Transport, self.writer.transport).resume_reading()

    async def rest(self) -> bytes:
        """All until the server closes."""
        async with asyncio.timeout(5):
            return await self.reader.read()


class Running:
    """A server, where it listens, and connections to it that are closed in the end."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.clients: list[Client] = []

    async def connect(self, data: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        client.send(data)
        return client


@asynccontextmanager
async def serving(
    app: Application, *, idle_timeout_s: float = 75, clients: list[socket.socket] | None = None, **more: Any
) -> AsyncIterator[Running]:
    """``more``: of the server's configuration. ``clients``: connections that another server was given."""
    sockets = listen("127.0.0.1", 0, 30)
    server = Server(app, ServerConfig(idle_timeout_s=idle_timeout_s, **more), sockets, clients)
    await server.start()
    running = Running(server, sockets[0].getsockname()[1])
    try:
        yield running
    finally:
        for client in running.clients:
            client.writer.close()
        await server.close_listeners()
        await server.drained(1)
        await server.abort()
