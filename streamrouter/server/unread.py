"""What a client still sends when nobody takes it any more: it must neither block a connection nor cut the answer off.

hypercorn hands a body to the application through a bounded queue. Once the application has answered, nobody takes from
it: the reading task waits for ever, and the connection stays with its task and its descriptor (a refused body in tiny
chunks does that without a key). And a connection that is closed on unread bytes is reset, which can take the last
response with it: a 413 must arrive (docs/reliability.md F36).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.http_stream import HTTPStream

LINGER_S = 1.0  # how long a refused client may go on sending before its connection is cut
READ_BYTES = 64 * 1024
_UNFINISHED = (h11.SEND_BODY, h11.ERROR)


class ForgetfulStream(HTTPStream):
    """A request whose body is dropped once its response is complete; who waits to hand it over goes on."""

    async def app_send(self, message: Any) -> None:
        if message is None or (message["type"] == "http.response.body" and not message.get("more_body", False)):
            self._forget()
        await super().app_send(message)

    def _forget(self) -> None:
        queue = getattr(getattr(self, "app_put", None), "__self__", None)
        self.app_put = _nowhere
        if isinstance(queue, asyncio.Queue):
            while not queue.empty():
                queue.get_nowait()


async def _nowhere(message: Any) -> None:
    """Where a message goes that nobody takes."""


class LingeringConnection(TCPServer):
    """Closes in two steps while the client is still sending: FIN, then what comes is dropped until it stops."""

    lingering = False
    _read = False  # to its end: the connection is over, and its idle time with it
    _patience: asyncio.Timeout | None = None

    def their_state(self) -> Any:
        """Where the client stands in its request (h11's states), None before there is one."""
        return None

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Closed) and self._patience is not None:
            if self.lingering:
                return  # the reading task closes
            if self.their_state() in _UNFINISHED:
                self.lingering = True
                self._patience.reschedule(self.loop.time() + LINGER_S)
                with contextlib.suppress(OSError, RuntimeError):
                    self.writer.write_eof()
                return
        if not (self._read and isinstance(event, Updated)):
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as self._patience:
                await self._read_on()
        self._patience = None
        self._read = True
        await self.protocol.handle(Closed())
        await self.idle_task.stop()  # else a connection whose client is gone would stay until its idle time is over

    async def _read_on(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(READ_BYTES)
            except OSError:
                return
            if not self.lingering:
                await self.protocol.handle(RawData(data))
