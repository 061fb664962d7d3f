"""The way out: how a process stops serving, with nobody after it, or with another one that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamrouter.app import App
from streamrouter.config.schema import ServerConfig
from streamrouter.errors import Refusal
from streamrouter.ops.logs import Log
from streamrouter.process.notify import Manager
from streamrouter.server.plain import Keeper
from streamrouter.server.server import Server

_TOLD_S = 2.0  # for the last events to those whose stream is cut


class Leaving:
    """One departure. ``now`` is set by a second signal: no more patience."""

    def __init__(self, app: App, server: Server, log: Log, manager: Manager, now: asyncio.Event) -> None:
        self._app = app
        self._server = server
        self._log = log
        self._manager = manager
        self._now = now

    async def for_good(self, config: ServerConfig) -> None:
        """Nobody follows: refuse new work at once, let streams finish in their time, tell the rest (F43)."""
        self._app.draining = True
        self._say(self._manager.stopping)
        await self._patiently(asyncio.sleep(config.drain_announce_s))
        await self._server.close_listeners()
        await self._finish(config)

    async def for_another(self, config: ServerConfig, keeper: Keeper | None, tell: Callable[[str], None]) -> None:
        """Another program goes on with the listening sockets, which are open elsewhere: new connections wait in them.

        Nobody is refused: what is asked on live connections is served, and then ``keeper`` is given them (without one
        they are closed, as on the way out for good). ``tell`` is the service manager's word for it.
        """
        self._app.leaving = True
        self._say(tell)
        await self._server.close_listeners(keeper)
        await self._finish(config)

    def _say(self, tell: Callable[[str], None]) -> None:
        streams = len(self._app.gateway.in_flight)
        self._log.event("info", "draining", streams=streams)
        tell(f"draining, {streams} streams in flight")

    async def _finish(self, config: ServerConfig) -> None:
        await self._patiently(self._server.drained(config.drain_timeout_s))
        self._app.draining = True
        left = self._app.stop_streams(
            Refusal("server_shutdown", "The server is shutting down. Retry.", retry_after_s=1)
        )
        if left:
            self._log.event("warning", "streams_cut", streams=left)
        await self._server.drained(_TOLD_S if left else 0.1)
        await self._server.abort()
        await self._app.streams.finished(_TOLD_S)

    async def _patiently(self, work: object) -> None:
        """Await ``work`` unless a second signal comes first."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({task, now}, return_when=asyncio.FIRST_COMPLETED)
        for pending in (task, now):
            pending.cancel()
        await asyncio.gather(task, now, return_exceptions=True)
