"""Where a relay writes: a synchronous way to a client.

Our server offers one per request as the ASGI extension ``streamrouter.sink`` (``server/``): a write goes straight to
the transport. Elsewhere (other servers, HTTP/2) ``SendSink`` queues what is written and a task sends it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

EXTENSION = "streamrouter.sink"
BODY = "streamrouter.body"  # a call: the whole body where it is here already, else None
ANSWER = "streamrouter.answer"  # a call with status, headers, body: the whole response, in one write
BY_NAME = "streamrouter.headers"  # in a scope: its headers by name, the first of each
Headers = list[tuple[bytes, bytes]]
_HIGH_WATER = 64 * 1024


class Reader(Protocol):
    """Who is told how the client does: the relay."""

    def client_gone(self) -> None: ...
    def client_blocked(self) -> None: ...
    def client_writable(self) -> None: ...


class Sink(Protocol):
    """A client's side of a stream. Nothing blocks and nothing raises; after the client left, writes vanish."""

    reader: Reader | None

    @property
    def attended(self) -> bool:
        """Somebody reads: a silence is worth filling."""

    def start(self, status: int, headers: Headers) -> None:
        """Commit the status; its bytes may leave together with the first write."""

    def write(self, data: bytes) -> None:
        """Whole events; without any, the status leaves alone."""

    def end(self, data: bytes) -> None:
        """The last bytes and the end of the body, in one write."""

    async def close(self) -> None:
        """Let the server know that the response is over; returns when the last byte is handed on."""


class SendSink:
    """The plain ASGI way: messages wait in a queue for ``send``, a watcher on ``receive`` sees the client leave."""

    attended = True

    def __init__(self, receive: Receive, send: Send) -> None:
        self.reader: Reader | None = None
        self._send = send
        self._messages: deque[dict[str, Any]] = deque()
        self._waiting = 0
        self._blocked = False
        self._wake = asyncio.Event()
        self._ended = False
        self._pump = asyncio.create_task(self._run())
        self._watcher = asyncio.create_task(self._watch(receive))

    def start(self, status: int, headers: Headers) -> None:
        self._put({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> None:
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def end(self, data: bytes) -> None:
        self._put({"type": "http.response.body", "body": data, "more_body": False})
        self._ended = True

    def _put(self, message: dict[str, Any]) -> None:
        if self._ended:
            return
        self._messages.append(message)
        self._waiting += len(message.get("body", b""))
        if self._waiting > _HIGH_WATER and not self._blocked:
            self._blocked = True
            if self.reader is not None:
                self.reader.client_blocked()
        self._wake.set()

    async def _run(self) -> None:
        while not (self._ended and not self._messages):
            await self._wake.wait()
            self._wake.clear()
            while self._messages:
                message = self._messages.popleft()
                await self._send(message)
                self._waiting -= len(message.get("body", b""))
            if self._blocked:
                self._blocked = False
                if self.reader is not None:
                    self.reader.client_writable()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self.reader is not None:
            self.reader.client_gone()

    async def close(self) -> None:
        self._watcher.cancel()
        if not self._ended:
            self._pump.cancel()
        await asyncio.gather(self._pump, self._watcher, return_exceptions=True)


def sink_of(scope: Scope, receive: Receive, send: Send) -> Sink:
    """The server's own sink where it offers one, else one over ``send``."""
    make = scope.get("extensions", {}).get(EXTENSION)
    sink: Sink = make() if make is not None else SendSink(receive, send)
    return sink
