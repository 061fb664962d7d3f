"""One client connection, from accept to close: plain requests are read and answered in the transport's own callbacks.

No StreamReader, no reading task, no timer per request: bytes are parsed in ``data_received``, and a request is one
task that runs the application. A connection that asks for anything else (another framing, another version, a bad
request, HTTP/2) is handed over whole to hypercorn's layers (``http1.py``) before a byte of that request is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from hypercorn.config import Config as HypercornConfig
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp, Scope

from streamrouter.relay.sink import ANSWER, BODY, BY_NAME, EXTENSION
from streamrouter.server.heads import MOST_HEAD_BYTES, Head, HeadReader, ResponseHeads
from streamrouter.server.http1 import HIGH_WATER_BYTES
from streamrouter.server.turn import Turn
from streamrouter.server.unread import LINGER_S, READ_BYTES

Keeper = Callable[[socket.socket], bool]  # takes a connection between two requests over, or says that it cannot

CUT_S = 1.0  # how long the transports of connections that were cut may take to say so
_ASGI = {"spec_version": "2.1", "version": "3.0"}
LAST_WORD_S = 0.25  # a draining server closes nobody earlier who has not been told: a request may be on its way
_DRAIN_PERIOD_S = 0.02


class House:
    """What the connections of one server share. ``hand_over``: take the connection and what it has sent so far."""

    def __init__(
        self,
        app: ASGIApp,
        config: HypercornConfig,
        hand_over: Callable[[asyncio.Transport, bytes], None],
    ) -> None:
        self.app = app
        self.idle_s = config.keep_alive_timeout
        self.heads = ResponseHeads(lambda: config.response_headers("h11"))
        self.hand_over = hand_over
        self.loop = asyncio.get_running_loop()
        self.connections: set[PlainConnection] = set()
        self.draining = False
        self.keeper: Keeper | None = None
        self._emptied = asyncio.Event()
        self._period_s = max(0.01, min(1.0, self.idle_s / 10))
        self._timer = self.loop.call_later(self._period_s, self._tick)

    def _tick(self) -> None:
        """One timer for every connection's idle time."""
        self._timer = self.loop.call_later(self._period_s, self._tick)
        before = self.loop.time() - (min(self.idle_s, LAST_WORD_S) if self.draining else self.idle_s)
        for connection in list(self.connections):
            if self.keeper is None or not connection.give(self.keeper):
                connection.close_if_idle(before)

    def left(self, connection: PlainConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._emptied.set()

    async def empty(self) -> None:
        """Return once there is no connection."""
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    def drain(self, keeper: Keeper | None = None) -> None:
        """Idle connections are closed, the others after their next response, which says so.

        With a ``keeper`` it is given those that can go on elsewhere instead, as soon as nothing of them is here.
        """
        self.draining, self.keeper, self._period_s = True, keeper, _DRAIN_PERIOD_S
        self._timer.cancel()
        self._tick()

    async def abort(self) -> None:
        """Cut what is left."""
        self._timer.cancel()
        tasks = [task for connection in list(self.connections) if (task := connection.cut()) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_S):
                await self.empty()


class PlainConnection(asyncio.Protocol):
    """See the module."""

    transport: asyncio.Transport

    def __init__(self, house: House) -> None:
        self._house = house
        self.heads = house.heads
        self.blocked = False
        self._reader = HeadReader()
        self._turn: Turn | None = None
        self._task: asyncio.Task[None] | None = None
        self._ahead = b""  # what came and belongs to no request yet
        self._idle_since: float | None = None
        self._keep = True  # the client wants the connection to go on
        self._paused = self._eof = self._lingering = self._lost = self._handed_over = False
        self._unblocked: asyncio.Event | None = None

    # -- the transport's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self._house.hand_over(self.transport, b"")
            return
        raw = transport.get_extra_info("socket")
        try:
            self._client = parse_socket_addr(raw.family, raw.getpeername())
            self._server = parse_socket_addr(raw.family, raw.getsockname())
        except OSError:
            self.transport.abort()  # the client went away while it was accepted
            self._client = self._server = None
        self._scheme = "http" if tls is None else "https"
        self._house.connections.add(self)
        self._idle_since = self._house.loop.time()
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        turn = self._turn
        if turn is None:
            if not self._lingering:
                self._next(self._ahead + data if self._ahead else data)
            return
        if turn.left:
            body = data[: turn.left]
            self._reader.skip(body)
            turn.feed(body)
            data = data[len(body) :]
        self._ahead += data
        if not self._paused and turn.unread + len(self._ahead) > READ_BYTES:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        turn = self._turn
        if turn is None:
            return False
        turn.leave()
        return self._scheme == "http"  # a whole answer still goes to a client that only closed its side

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._turn is not None:
            self._turn.leave()
        else:
            self._house.left(self)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.blocked = True
        if self._turn is not None:
            self._turn.fell_behind()

    def resume_writing(self) -> None:
        self.blocked = False
        if self._unblocked is not None:
            self._unblocked.set()
        if self._turn is not None and not self._lost:
            self._turn.caught_up()

    # -- one request after the other ---------------------------------------------------------------------------------

    def _next(self, data: bytes) -> None:
        """Begin the request that ``data`` begins with, or wait for the rest of its head."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) <= MOST_HEAD_BYTES and b"A" <= data[:1] <= b"Z" and data.count(b"\n") == data.count(b"\r\n"):
                self._ahead = data
            else:
                self._hand_over(data)
            return
        head = self._reader.read(data[:end]) if end <= MOST_HEAD_BYTES else None
        if head is None:
            self._hand_over(data)
            return
        stop = end + head.length
        body, self._ahead = data[end:stop], data[stop:]
        if body:
            self._reader.skip(body)
        self._idle_since = None
        self._keep = head.keep
        self._turn = turn = Turn(self, body, stop - end - len(body))
        self._task = self._house.loop.create_task(self._serve(turn, self._scope(head, turn)))

    def _scope(self, head: Head, turn: Turn) -> Scope:
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "method": head.method,
            "scheme": self._scheme,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "client": self._client,
            "server": self._server,
            "state": {},
            "extensions": {EXTENSION: turn.sink, BODY: turn.whole_body, ANSWER: turn.answer},
            BY_NAME: head.by_name,
        }

    async def _serve(self, turn: Turn, scope: Scope) -> None:
        try:
            await self._house.app(scope, turn.receive, turn.send)
            if not turn.ended:
                turn.fail()
        except Exception:  # noqa: BLE001 - the border of the application: a bug in it ends its own connection only
            turn.fail()
        finally:
            self._over(turn)

    def _over(self, turn: Turn) -> None:
        """The application is done: the next request, or the end of the connection."""
        self._turn = self._task = None
        if self._lost:
            self._house.left(self)
            return
        if not turn.ended or turn.close_after or turn.left or self._eof:
            self._close(turn)
            return
        self._idle_since = self._house.loop.time()
        data, self._ahead = self._ahead, b""
        if data:
            self._next(data)
            if self._handed_over:
                return  # whether the transport is read is not ours to say any more
        self.taken()
        if self.keepable and self._turn is None and not self._ahead:
            self.transport.pause_reading()  # what comes from now on is for whoever is given the connection

    def _close(self, turn: Turn) -> None:
        """Close; in two steps while the client is still sending, else the response could be lost with the rest."""
        self._ahead = b""
        if not turn.left or self._eof:
            self.transport.close()
            return
        self._lingering = True
        with contextlib.suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.taken()
        self._house.loop.call_later(LINGER_S, self.transport.abort)

    def _hand_over(self, data: bytes) -> None:
        self._idle_since = None
        self._handed_over = True
        self._house.left(self)
        if self._paused:
            self.transport.resume_reading()
        self._house.hand_over(self.transport, data)
        if self.blocked:  # by the response before: the transport has told it, and will not again
            self.transport.get_protocol().pause_writing()

    # -- what a turn asks --------------------------------------------------------------------------------------------

    def last(self) -> bool:
        return not self._keep or self._eof or (self._house.draining and not self.keepable)

    def taken(self) -> None:
        turn = self._turn
        if self._paused and len(self._ahead) + (turn.unread if turn is not None else 0) <= READ_BYTES:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    async def writable(self) -> None:
        while self.blocked:
            if self._unblocked is None:
                self._unblocked = asyncio.Event()
            self._unblocked.clear()
            await self._unblocked.wait()

    # -- what the house asks -----------------------------------------------------------------------------------------

    @property
    def keepable(self) -> bool:
        """Another process could go on with it: there is one, and TLS has left no secrets in this one."""
        return self._house.keeper is not None and self._scheme == "http" and not self._eof

    def give(self, keeper: Keeper) -> bool:
        """Give it to ``keeper`` if it is between two requests; True if it is not here any more."""
        if not self.keepable or self._turn is not None or self._ahead or self._lingering or self.transport.is_closing():
            return False
        self.transport.pause_reading()
        if self.transport.get_write_buffer_size():
            return False
        try:
            with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as kept:
                taken = keeper(kept)
        except OSError:  # no descriptor is left: this one is freed soon, like any idle connection's
            return False
        if taken:
            self.transport.abort()
        else:
            self.transport.close()
        return True

    def close_if_idle(self, before: float) -> None:
        """Close if nothing was under way since ``before`` (loop time)."""
        if self._idle_since is not None and self._idle_since <= before:
            self.transport.close()

    def cut(self) -> Any:
        """Close without ceremony; the task that was serving, if any."""
        task = self._task
        if task is not None:
            task.cancel()
        self.transport.abort()
        return task
