"""The real upstream: an OpenAI-compatible endpoint behind aiohttp, with the settings that faults taught us.

No environment proxies, no redirects, no cookies, no decompression (``Accept-Encoding: identity``), no limit on
connections, no line iterator. Deadlines are the caller's (one scope from the request to the first event): aiohttp's
``sock_read`` never fires on headers that trickle. Exceptions become ``Upstreamed`` here and nowhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp

from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Upstreamed
from streamrouter.upstream.exchange import Target, reached
from streamrouter.upstream.line import Answered, Line, reused
from streamrouter.upstream.push import PushHandler, cut_short, take_over, whole_body


class HttpExchange:
    """One answered request (see ``exchange.Exchange``)."""

    def __init__(self, response: Answered) -> None:
        self._response = response
        self._handler: PushHandler | None = None
        self._target: Target | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers  # case-insensitive

    def push(self, target: Target) -> None:
        self._target = target
        arrived, self._handler = take_over(self._response, target)
        if arrived:
            target.feed(arrived)
            target.flush()
        if self._handler is None:
            target.ended(None if self._response.content.exception() is None else cut_short())

    async def read(self, most: int) -> tuple[bytes, bool]:
        content = self._response.content
        body = whole_body(content)
        if body is not None:  # it came with the headers, as nearly all do: aiohttp's way of reading is 15 us longer
            return body[:most], len(body) <= most
        pieces: list[bytes] = []
        size = 0
        try:
            while size <= most:
                piece = await content.readany()
                if not piece:
                    return b"".join(pieces), True
                pieces.append(piece)
                size += len(piece)
        except (aiohttp.ClientError, OSError) as error:
            self._response.close()
            raise cut_short() from error
        return b"".join(pieces)[:most], False

    def _connection(self) -> PushHandler | None:
        """The connection while it is this answer's: once the body is whole, another request may have it."""
        handler = self._handler
        return handler if handler is not None and handler.target is self._target else None

    def pause(self) -> None:
        handler = self._connection()
        if handler is not None and handler.transport is not None:
            handler.transport.pause_reading()

    def resume(self) -> None:
        handler = self._connection()
        if handler is not None and handler.transport is not None:
            handler.transport.resume_reading()

    def close(self) -> None:
        handler = self._connection()
        if handler is not None:
            handler.target = handler.response = None
        if handler is self._handler:  # also where none was taken over: the body is read, or not even begun
            self._response.close()


class HttpTransport:
    """One configured endpoint. Made on the loop that it is used on; ``config`` is resolved (presets applied)."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **config.headers}
        if config.api_key:
            self._headers.setdefault("Authorization", f"Bearer {config.api_key}")
        self._connect_s = config.connect_s
        self._line = self._made(keepalive=True)
        self._fresh: Line | None = None

    def _made(self, *, keepalive: bool) -> Line:
        return Line(self._url, self._headers, self._connect_s, keepalive=keepalive)

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> HttpExchange:
        try:
            return await self._post(self._line, body, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) or not reused.get():
                raise verdict(error) from error
        # F51: the pooled connection was stale. One retry, before any response byte, on a connection made for it.
        if self._fresh is None:
            self._fresh = self._made(keepalive=False)
        try:
            return await self._post(self._fresh, body, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise verdict(error) from error

    async def _post(self, line: Line, body: bytes, headers: Mapping[str, str]) -> HttpExchange:
        reused.set(False)
        reached.set(False)
        try:
            response = await line.post(body, headers)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            raise
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise verdict(error) from error
        return HttpExchange(response)

    async def close(self) -> None:
        await self._line.close()
        if self._fresh is not None:
            await self._fresh.close()


def verdict(error: BaseException) -> Upstreamed:
    """What a failed request means. A refusal to connect is provably unbilled; a silent drop after sending is not."""
    if isinstance(error, aiohttp.ServerTimeoutError | asyncio.TimeoutError):
        return Upstreamed("upstream_timeout", "The upstream could not be reached in time. Retry.")
    if isinstance(error, aiohttp.ClientConnectorError | ssl.SSLError | aiohttp.InvalidURL):
        return Upstreamed("upstream_unreachable", "The upstream cannot be reached. Retry later.")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | ValueError):
        return Upstreamed("upstream_invalid_response", "The upstream's answer is not valid HTTP.", ambiguous=True)
    return Upstreamed(
        "upstream_disconnected", "The upstream closed the connection before it answered. Retry.", ambiguous=True
    )
