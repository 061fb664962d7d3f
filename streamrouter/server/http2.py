"""HTTP/2 on a TLS connection whose client chose it: hypercorn's, without what a proxy for strangers cannot use.

Streams are written through plain ``send`` (``SendSink``), so flow control holds the upstream back, and a stream that is
reset is a client that left. What hypercorn lacks: data for a stream that was answered already ended the connection with
every neighbour on it, a header that HTTP/1.1 needs left a response unsent, and a client that grants no window was
written to without bound, then waited for without end (the connection lives: TCP's own timeout does not see it).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER, BufferCompleteError, H2Protocol, StreamBuffer
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError

from streamrouter.server.unread import ForgetfulStream

# RFC 9113 section 8.2.2: a response that has one of them is malformed.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
STREAMS_AT_ONCE = 100


class Buffer(StreamBuffer):
    """What a stream has not been granted yet. A full one is written to again once it has emptied, not before."""

    async def push(self, data: bytes) -> None:
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class Http2(H2Protocol):
    """HTTP/2 on one connection. ``stalled_s``: how long one stream's client may take nothing."""

    stalled_s = 30.0

    async def initiate(self, headers: Any = None, settings: Any = None) -> None:
        self.connection.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 0
        self.connection.local_settings.acknowledge()
        await super().initiate()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            try:
                if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                    assert event.stream_id is not None
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    await super()._handle_events([event])
            except h2.exceptions.ProtocolError:
                continue  # the stream was closed meanwhile; its neighbours go on
        await self._flush()

    async def _create_stream(self, request: h2.events.RequestReceived) -> None:
        assert request.stream_id is not None and request.headers is not None
        pseudo = {bytes(name): bytes(value) for name, value in request.headers if name.startswith(b":")}
        method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        if not method.isalpha() or method == b"CONNECT" or not path:
            self.connection.reset_stream(request.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        stream = ForgetfulStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            request.stream_id,
        )
        self.streams[request.stream_id] = stream
        self.stream_buffers[request.stream_id] = Buffer(self.context.event_class)
        with contextlib.suppress(DuplicateStreamError):  # its PRIORITY frame came before it
            self.priority.insert_stream(request.stream_id)
            self.priority.block(request.stream_id)
        await stream.handle(
            Request(
                stream_id=request.stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=method.decode("ascii"),
                raw_path=path,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def stream_send(self, event: Event) -> None:
        if isinstance(event, Response):
            headers = [(name, value) for name, value in event.headers if name.lower() not in HOP_BY_HOP]
            event = Response(event.stream_id, headers, event.status_code)
        if not isinstance(event, Body | EndBody):
            await super().stream_send(event)
            return
        try:
            async with asyncio.timeout(self.stalled_s):
                await super().stream_send(event)
        except TimeoutError:
            await self._cut(event.stream_id)

    async def _cut(self, stream_id: int) -> None:
        """The client grants this stream nothing: it is gone, its neighbours stay."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
            await self._flush()
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)  # the sending task finds it closed, and drops what waits
