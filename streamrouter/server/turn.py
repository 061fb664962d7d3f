"""One plain request and its response: the ASGI callables, and the sink, in one object that writes to the transport."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from starlette.types import Message

from streamrouter.relay.sink import Headers, Reader
from streamrouter.server.heads import ResponseHeads

_CHUNKED = b"transfer-encoding: chunked\r\n"
_CLOSE = b"connection: close\r\n"
_NO_BODY = frozenset({204, 304})


class Line(Protocol):
    """What a turn needs of its connection."""

    transport: asyncio.Transport
    heads: ResponseHeads
    blocked: bool

    def last(self) -> bool:
        """The connection ends with this response."""

    def taken(self) -> None:
        """The application has taken what there was of the body."""

    async def writable(self) -> None:
        """Return once the client has taken what was written, or is gone."""


class Turn:
    """See the module. A response without its end is not ended here: the connection is then cut.

    As a sink it writes head and first event, each batch of events, and the last one with the body's end at once each:
    a chunk of a chunked body needs no state machine (property-tested against h11).
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_declared",
        "_given",
        "_head",
        "_headers",
        "_line",
        "_moved",
        "_reader",
        "_status",
        "_transport",
        "close_after",
        "ended",
        "gone",
        "left",
        "started",
        "unread",
    )
    attended = True

    def __init__(self, line: Line, body: bytes, left: int) -> None:
        self._line = line
        self._transport = line.transport
        self._body = [body] if body else []
        self.left = left  # bytes of the body that have not come
        self.unread = len(body)  # bytes of it that came and were not taken
        self._given = False  # the application has the whole body
        self._moved: asyncio.Event | None = None
        self._reader: Reader | None = None
        self.gone = False
        self._status = 0
        self._headers: Headers = []
        self._head = b""  # of a stream, it waits for the first event
        self.started = False
        self.ended = False
        self.close_after = False
        self._chunked = False
        self._declared = 0  # bytes that a Content-Length still promises

    # -- the request's body --------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """More of the body."""
        self._body.append(data)
        self.left -= len(data)
        self.unread += len(data)
        self._move()

    def _move(self) -> None:
        if self._moved is not None:
            self._moved.set()

    def whole_body(self) -> bytes | None:
        """The whole body where it is all here already, else None."""
        if self.left or self._given:
            return None
        return self._take()

    def _take(self) -> bytes:
        body = self._body
        self._given = not self.left
        self.unread = 0
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        self._line.taken()
        return data

    async def receive(self) -> Message:
        """ASGI: the next part of the body, then ``http.disconnect`` once the client left or has its answer."""
        while True:
            if self._body or not (self.left or self._given):
                data = self._take()
                return {"type": "http.request", "body": data, "more_body": not self._given}
            if self.gone or self.ended:
                return {"type": "http.disconnect"}
            if self._moved is None:
                self._moved = asyncio.Event()
            self._moved.clear()
            await self._moved.wait()

    def leave(self) -> None:
        """The client left: whoever waits for it is told at once."""
        if not self.gone:
            self.gone = True
            self._move()
            if self._reader is not None and not self.ended:
                self._reader.client_gone()

    # -- the response by ASGI messages -----------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """ASGI: start and body. A whole answer is one write."""
        kind = message["type"]
        if kind == "http.response.start" and not self._status:
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
            return
        if kind != "http.response.body" or not self._status or self.ended:
            raise RuntimeError(f"{kind} is out of order")
        self._send_body(message.get("body", b""), message.get("more_body", False))
        if self._line.blocked:
            await self._line.writable()

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """The extension ``streamrouter.answer``: a whole response. ``headers`` say nothing of its framing."""
        if self._status:
            raise RuntimeError("a second answer is out of order")
        self._status = status
        head = self._open(status, headers, b"content-length: %d\r\n" % len(body))
        self._end_or_go_on(head + body, False)
        if self._line.blocked:
            await self._line.writable()

    def _send_body(self, body: bytes, more: bool) -> None:
        head = b"" if self.started else self._begin(body, more)
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._end_or_go_on(head + data + (b"" if more else b"0\r\n\r\n"), more)
            return
        if self._status not in _NO_BODY:
            self._declared -= len(body)
            if self._declared < 0 or (self._declared and not more):
                raise RuntimeError("the body is not as long as its Content-Length")
            head += body
        self._end_or_go_on(head, more)

    def _end_or_go_on(self, data: bytes, more: bool) -> None:
        if not more:
            self.ended = True
            self._move()
        self._write(data)

    def _begin(self, body: bytes, more: bool) -> bytes:
        headers, framing = self._headers, b""
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = value
        if length is not None:
            self._declared = int(length)
        elif not more and self._status not in _NO_BODY:
            self._declared = len(body)
            framing = b"content-length: %d\r\n" % len(body)
        elif self._status not in _NO_BODY:
            self._chunked = True
            framing = _CHUNKED
        return self._open(self._status, headers, framing)

    def _open(self, status: int, headers: Headers, framing: bytes) -> bytes:
        """The head; from here on the response has begun."""
        line = self._line
        if (b"connection", b"close") in headers:
            self.close_after = True
        elif self.close_after or line.last() or self.left:
            self.close_after = True
            headers = [header for header in headers if header[0] != b"connection"]
            framing += _CLOSE
        head = line.heads.write(status, headers, framing)
        self.started = True
        return head

    def fail(self) -> None:
        """The application ended without an answer: 500, if a status can still be told."""
        if not self.started and not self.gone:
            self.close_after = True
            self._status = 500
            self._headers = []
            self._send_body(b"", False)

    # -- the response as a sink --------------------------------------------------------------------------------------

    def sink(self) -> Turn:
        """The extension ``streamrouter.sink``."""
        return self

    @property
    def reader(self) -> Reader | None:
        return self._reader

    @reader.setter
    def reader(self, reader: Reader | None) -> None:
        self._reader = reader
        if reader is not None and (self.gone or self._transport.is_closing()):
            reader.client_gone()  # it left before anybody listened: while the request was counted or reserved

    def start(self, status: int, headers: Headers) -> None:
        self._chunked = True
        self._status = status
        self._head = self._open(status, headers, _CHUNKED)
        if self._reader is not None and self._line.blocked:
            self._reader.client_blocked()  # by the response before this one: the transport tells it once only

    def write(self, data: bytes) -> None:
        head = self._head
        if data:
            if self.started and not self.ended:
                if head:
                    self._head = b""
                if not self._transport.is_closing():  # not by _write: this is the way of every event
                    self._transport.write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        elif head:  # it waits for the first event, but that may be far off
            self._head = b""
            self._write(head)

    def end(self, data: bytes) -> None:
        if not self.started or self.ended:
            return
        self.ended = True
        head, self._head = self._head, b""
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._write(b"%b%b0\r\n\r\n" % (head, chunk))
        self._move()

    async def close(self) -> None:
        """Nothing is left to do: what was written is with the transport."""

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    # -- what the transport says -------------------------------------------------------------------------------------

    def fell_behind(self) -> None:
        if self._reader is not None:
            self._reader.client_blocked()

    def caught_up(self) -> None:
        if self._reader is not None:
            self._reader.client_writable()
