"""Connections between two requests: what aiohttp's pool does for one address, without its bookkeeping per request.

aiohttp's connector keeps sets of what is in use, wakes waiters of limits that we do not have, and makes an object for
every loan (31 of a whole answer's 830 profiled microseconds). Here a connection is lent as it was made.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp.connector import Connection

from streamrouter.upstream.push import PushHandler


class Spares:
    """The idle connections of one address, for ``keepalive_s`` each. 0: none is kept. Used on the loop."""

    def __init__(self, keepalive_s: float) -> None:
        self._keepalive_s = keepalive_s
        self._idle: deque[tuple[Connection, float]] = deque()  # since when, the longest first
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None

    def take(self) -> Connection | None:
        """The one that was used last, so that the others may end; None if there is none that could be used."""
        oldest = self._loop.time() - self._keepalive_s
        while self._idle:
            connection, since = self._idle.pop()
            if since >= oldest and _silent(connection):
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        """It has answered. Closed if it cannot be used again."""
        protocol = connection.protocol
        if not self._keepalive_s or not isinstance(protocol, PushHandler) or protocol.should_close:
            connection.close()
            return
        protocol.heard = False
        self._idle.append((connection, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keepalive_s, self._swept)

    def _swept(self) -> None:
        """One timer for all: what nobody has used in time is closed."""
        oldest = self._loop.time() - self._keepalive_s
        while self._idle and self._idle[0][1] <= oldest:
            self._idle.popleft()[0].close()
        self._sweep = self._loop.call_at(self._idle[0][1] + self._keepalive_s, self._swept) if self._idle else None

    def close(self) -> None:
        """Close them all, and keep no more."""
        self._keepalive_s = 0.0
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            self._idle.pop()[0].close()


def _silent(connection: Connection) -> bool:
    """It is there, and said nothing unasked: a 408, say, would be read as the answer to the next request."""
    protocol = connection.protocol
    if not isinstance(protocol, PushHandler) or protocol.heard:
        return False
    return protocol.is_connected() and not protocol.should_close
