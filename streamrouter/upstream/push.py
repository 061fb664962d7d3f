"""aiohttp, pushed: an answer's bytes are handed on in the read callback, no task wakes per read.

aiohttp's parser feeds a ``StreamReader``; once the headers are here, the reader's class becomes ``PushReader``, whose
``feed_data`` goes to the protocol's ``Target``. ``PushHandler`` tells the target when one socket read is through, so
a burst of a hundred events is one write to the client.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EmptyStreamReader, StreamReader

from streamrouter.errors import Upstreamed
from streamrouter.upstream.exchange import Target


class Closing(Protocol):
    """An answer, as far as its connection knows it (an aiohttp.ClientResponse is one)."""

    content: StreamReader

    def close(self) -> Any: ...


_SIZE = re.compile(rb"[0-9a-fA-F]{1,6}")


def whole_chunk(data: bytes) -> bytes | None:
    """The content of ``data``, if that is exactly one chunk without extensions (RFC 9112, 7.1), and not the last."""
    line = data.find(b"\r\n", 0, 8)
    if line < 1 or not data.endswith(b"\r\n") or not _SIZE.fullmatch(data, 0, line):
        return None
    size = int(data[:line], 16)
    return data[line + 2 : -2] if size and len(data) == line + size + 4 else None


class PushHandler(ResponseHandler):
    """One upstream connection; ``target`` is where the current answer goes, once somebody asked for it."""

    __slots__ = ("between", "heard", "response", "target")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.target: Target | None = None
        self.response: Closing | None = None  # whose body is pushed
        self.heard = False  # something came since it was taken from the pool (of no interest once there is a target)
        self.between = False  # the parser has read a chunk of the body to its end, and nothing behind it

    def data_received(self, data: bytes) -> None:
        target = self.target
        if target is None:
            super().data_received(data)
            self.heard = self.heard or bool(data)
            return
        # One event is one chunk is one read, nearly always: the parser, which is between two chunks before and after
        # it, need not see it.
        if self.between and (content := whole_chunk(data)):
            target.feed(content)
        else:
            super().data_received(data)
            self.between = self.between and data.endswith(b"\r\n")
            if self._exception is not None and self.transport is not None:
                self.transport.abort()  # broken framing: TLS would wait for the other side's goodbye first
        if self.target is not None:
            self.target.flush()

    def pause_reading(self) -> None:
        """Of the transport alone: what one read brought is parsed whole, so that nothing of it waits in the parser (it
        would come when a body that is pushed is not looked at any more).
        """
        self._reading_paused = True
        self._pause_transport_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        # After broken chunk framing aiohttp closes, but does not tell the body's reader: it would wait for ever.
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError())
        if self.response is not None:
            self.response.close()  # it holds the lost connection until it is collected
            self.response = None


class PushReader(StreamReader):
    """A body that is handed on instead of kept. No slots of its own: an instance changes its class to this one."""

    __slots__ = ()

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        self.total_bytes += len(data)
        target = self._protocol.target  # type: ignore[attr-defined]
        if target is not None and data:
            target.feed(data)
        return False

    def begin_http_chunk_receiving(self) -> None:
        self._protocol.between = False  # type: ignore[attr-defined]

    def end_http_chunk_receiving(self) -> None:
        self._protocol.between = True  # type: ignore[attr-defined]

    def feed_eof(self) -> None:
        self._protocol.between = False  # type: ignore[attr-defined]
        target, self._protocol.target = self._protocol.target, None  # type: ignore[attr-defined]
        self._protocol.response = None  # type: ignore[attr-defined]
        if target is not None:
            target.flush()  # before the connection goes back to the pool: feed_eof() undoes a pause that this asks for
        super().feed_eof()
        if target is not None:
            target.ended(None)

    def set_exception(self, exc: BaseException, exc_cause: BaseException = aiohttp.ClientError()) -> None:  # noqa: B008
        target, self._protocol.target = self._protocol.target, None  # type: ignore[attr-defined]
        super().set_exception(exc, exc_cause)
        if target is not None:
            target.flush()
            target.ended(cut_short())


def cut_short() -> Upstreamed:
    """The body ended before its framing said so (RST, early FIN). The text names nothing: aiohttp's holds URLs."""
    return Upstreamed(
        "upstream_disconnected",
        "The upstream closed the connection in the middle of its answer. Retry.",
        ambiguous=True,
    )


class PushConnector(aiohttp.TCPConnector):
    """Makes ``PushHandler`` connections."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._factory = functools.partial(PushHandler, loop=self._loop)  # type: ignore[assignment]


def take_over(response: Closing, target: Target) -> tuple[bytes, PushHandler | None]:
    """From now on ``response``'s body goes to ``target``. Returns what is here already, and the connection.

    The connection is None if the body is over (or empty): it may be another request's by now.
    """
    reader = response.content
    if isinstance(reader, EmptyStreamReader):
        return b"", None
    arrived = _arrived(reader) if reader.exception() is None else b""
    if reader.exception() is not None or reader.is_eof():
        return arrived, None
    handler = reader._protocol
    if not isinstance(handler, PushHandler):  # a connector that is not ours: cannot be pushed
        raise TypeError("the upstream session needs a PushConnector")
    handler.target, handler.response, handler.between = target, response, False
    reader.__class__ = PushReader
    return arrived, handler


def whole_body(reader: StreamReader) -> bytes | None:
    """All of a body that has come whole and well, of which nothing was read yet; None if it has not."""
    if not reader.is_eof() or reader.exception() is not None:
        return None
    if isinstance(reader, EmptyStreamReader):
        return b""
    body = b"".join(reader._buffer)
    reader._buffer.clear()
    return body


def _arrived(reader: StreamReader) -> bytes:
    """``read_nowait``, in one piece: aiohttp does its bookkeeping for each chunk of the framing (90 us a burst)."""
    pieces = reader._buffer
    if len(pieces) > 1:
        whole = b"".join(pieces)
        pieces.clear()
        pieces.append(whole)
        if reader._http_chunk_splits:
            reader._http_chunk_splits.clear()
    return reader.read_nowait(-1)
