"""The SSE response: sse-starlette's headers and place in the application, our own way of sending.

``EventSourceResponse`` frames, locks, logs and opens a cancel scope per event (18-28 µs each, measured) and pings with
comments, which several clients cannot read. The relay writes ready-framed bytes to a sink instead, and its own
keep-alives; what is kept is the class, its media type, and its headers. Its shutdown hook knows uvicorn only: streams
are drained by the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from streamrouter.relay.sink import Headers, Sink, sink_of


class _Nothing:
    """The content that the base class wants: none, the relay writes by itself."""

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


@cache
def _headers() -> tuple[tuple[bytes, bytes], ...]:
    """What the base class sends with every stream, asked for once."""
    return tuple(EventSourceResponse(_Nothing(), ping=0).raw_headers)


class RelayResponse(EventSourceResponse):
    """A stream's response. ``run(sink)`` is awaited with the client's sink and returns when the stream is over.

    The base class is not initialised (15 µs a stream, measured): what it would set is read by its own sending only.
    """

    status_code = 200
    body_iterator = _Nothing()

    def __init__(self, run: Callable[[Sink], Awaitable[None]]) -> None:
        self.raw_headers = [*_headers()]
        self._run = run
        self.started = False

    def start(self, sink: Sink, extra: Headers) -> None:
        """Commit status 200 with the response's headers and ``extra``."""
        self.started = True
        sink.start(self.status_code, [*self.raw_headers, *extra])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.run(sink_of(scope, receive, send))

    async def run(self, sink: Sink) -> None:
        """Until the stream is over; then the sink is closed."""
        run, self._run = self._run, _over  # what runs knows the response: a reference cycle until here
        try:
            await run(sink)
        finally:
            await sink.close()


async def _over(sink: Sink) -> None:
    """A response runs once."""
