"""A connection that is not plain (``plain.py``): hypercorn's layers, with a sink that writes streams without ceremony.

What hypercorn does otherwise costs or breaks a streaming proxy (measured, ARCHITECTURE.md): ``send()`` per event runs
a state machine, a lock and a drain; it never raises after the client left; a client that stops reading blocks it for
ever. So a stream is written to its transport by ``ConnectionSink``. Request parsing, keep-alive, heads and ends stay
h11's and hypercorn's.
"""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import Any

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import EndBody, Event, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from streamrouter.relay.sink import EXTENSION, Headers, Reader
from streamrouter.server.http2 import Http2
from streamrouter.server.unread import ForgetfulStream, LingeringConnection

HIGH_WATER_BYTES = 64 * 1024


class ConnectionSink:
    """A stream's way to its client: head, chunks and end go to the transport in as few writes as possible.

    Correct because a chunk of a chunked HTTP/1.1 body needs no state machine; the head and the end go through h11,
    which so knows where the connection stands. Pinned to hypercorn 0.18 and property-tested against h11's own framing.
    """

    attended = True

    def __init__(self, stream: Stream, protocol: Http1, transport: asyncio.Transport) -> None:
        self._reader: Reader | None = None
        self._stream = stream
        self._protocol = protocol
        self._transport = transport
        self._head = b""
        self._started = False
        self._ended = False

    @property
    def reader(self) -> Reader | None:
        return self._reader

    @reader.setter
    def reader(self, reader: Reader | None) -> None:
        self._reader = reader
        if reader is not None and (self._stream.closed or self._transport.is_closing()):
            reader.client_gone()  # it left before anybody listened: while the request was counted or reserved

    def start(self, status: int, headers: Headers) -> None:
        protocol = self._protocol
        all_headers = list(chain(headers, protocol.config.response_headers("h11")))
        event = h11.Response(headers=all_headers, status_code=status)
        self._head = protocol.frame(event)
        self._stream.begin(status, headers)
        self._started = True
        if self.reader is not None and self._transport.get_write_buffer_size() > HIGH_WATER_BYTES:
            self.reader.client_blocked()  # by the response before this one: the transport tells it once only

    def write(self, data: bytes) -> None:
        if data and self._started and not self._ended:
            head, self._head = self._head, b""
            self._write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        elif self._head and not data:  # it waits for the first event, but that may be far off
            head, self._head = self._head, b""
            self._write(head)

    def end(self, data: bytes) -> None:
        if not self._started or self._ended:
            return
        self._ended = True
        head, self._head = self._head, b""
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._write(head + chunk + self._protocol.frame(h11.EndOfMessage()))
        self._protocol.ended = True

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def close(self) -> None:
        """Tell hypercorn that the response is over (its bytes have left already).

        One without an end is not ended here: the connection is then cut, and what was sent does not look whole.
        """
        if self._ended:
            await self._stream.app_send({"type": "http.response.body", "body": b"", "more_body": False})


class Stream(ForgetfulStream):
    """A request that offers its sink, and tells it at once when the client is gone."""

    protocol: Http1
    sink: ConnectionSink | None = None

    async def handle(self, event: Event) -> None:
        if isinstance(event, Request):
            self.start_time = time.time()
        elif not self.closed and type(event).__name__ == "StreamClosed" and self.sink is not None:
            sink, self.sink = self.sink, None
            if sink.reader is not None:
                sink.reader.client_gone()
        await super().handle(event)

    def begin(self, status: int, headers: Headers) -> None:
        """The response has started (hypercorn's state, without its send)."""
        self.response = {"type": "http.response.start", "status": status, "headers": headers}
        self.state = ASGIHTTPState.RESPONSE

    def make_sink(self) -> ConnectionSink:
        self.sink = ConnectionSink(self, self.protocol, self.protocol.transport)
        return self.sink


class Http1(H11Protocol):
    """HTTP/1.1 on one connection."""

    transport: asyncio.Transport
    ended = False  # the end of this response is written: hypercorn's EndBody has nothing left to do

    def frame(self, event: h11.Response | h11.EndOfMessage) -> bytes:
        """The bytes of an event, through h11's state machine; nothing once the client broke the protocol."""
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            return b""

    async def stream_send(self, event: Event) -> None:
        if self.ended and isinstance(event, EndBody):
            self.ended = False
            return
        await super().stream_send(event)

    async def _create_stream(self, request: h11.Request) -> None:
        stream = Stream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        stream.protocol = self
        self.stream = stream
        self.ended = False
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        if request.http_version == b"1.1" and request.method != b"HEAD" and not stream.closed:
            stream.scope["extensions"][EXTENSION] = stream.make_sink  # type: ignore[assignment]
        self.keep_alive_requests += 1

    async def _check_protocol(self, event: h11.Request) -> None:
        """No h2c upgrade, no prior-knowledge HTTP/2 on this port: the gate refuses what asks for it."""


class ClientProtocol(asyncio.StreamReaderProtocol):
    """The transport's side: tells the sink when the client falls behind and when it has caught up."""

    http: Http1 | None = None

    def _sink_reader(self) -> Reader | None:
        stream = self.http.stream if self.http is not None else None
        sink = stream.sink if isinstance(stream, Stream) else None
        return sink.reader if sink is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        reader = self._sink_reader()
        super().connection_lost(exc)
        if reader is not None:
            reader.client_gone()

    def pause_writing(self) -> None:
        super().pause_writing()
        reader = self._sink_reader()
        if reader is not None:
            reader.client_blocked()

    def resume_writing(self) -> None:
        super().resume_writing()
        reader = self._sink_reader()
        if reader is not None:
            reader.client_writable()


class Connection(LingeringConnection):
    """One client connection, from accept to close."""

    client_protocol: ClientProtocol
    stalled_s: float

    async def run(self) -> None:
        transport: Any = self.writer.transport
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        raw = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(raw.family, raw.getpeername())
            server = parse_socket_addr(raw.family, raw.getsockname())
            async with TaskGroup(self.loop) as task_group:
                self._task_group = task_group
                await self._speak(task_group, transport, client, server)
        except OSError:
            pass  # the client went away while it was accepted
        finally:
            await self._close()

    async def _speak(self, task_group: TaskGroup, transport: asyncio.Transport, client: Any, server: Any) -> None:
        state, tls = ConnectionState(self.state), self.writer.get_extra_info("ssl_object")
        with_all: tuple[Any, ...] = (self.app, self.config, self.context, task_group, state, tls is not None)
        with_all += (client, server, self.protocol_send)
        self.protocol = ProtocolWrapper(*with_all)
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self.protocol.protocol = http2 = Http2(*with_all)
            http2.stalled_s = self.stalled_s
        else:
            self.protocol.protocol = self.client_protocol.http = http = Http1(*with_all)
            http.transport = transport
        await self.protocol.initiate()
        await self.idle_task.restart(task_group, self._idle_timeout)
        await self._read_data()

    def their_state(self) -> Any:
        http = self.client_protocol.http
        return None if http is None else http.connection.their_state
