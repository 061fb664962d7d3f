"""``GET /admin/api/live``: the feed as server-sent events, for as long as whoever watches may watch."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send

from streamrouter.errors import Refusal
from streamrouter.ledger import sessions
from streamrouter.web.console.answers import server
from streamrouter.web.console.feed import Watcher
from streamrouter.web.console.route import SAFETY, Context, Reply, Route, until_left

CHECK_EVERY = 10  # aggregates between two looks whether the session is still there
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    *SAFETY,
]


class Live:
    """One who watches, as an ASGI application. It ends when the server drains, the session ends, the client leaves."""

    def __init__(self, context: Context, watcher: Watcher) -> None:
        self._context = context
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.ensure_future(until_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._events(send, left)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            left.cancel()
            self._context.site.feed.leave(self._watcher)

    async def _events(self, send: Send, left: asyncio.Future[None]) -> None:
        count = 0
        while True:
            coming = asyncio.ensure_future(self._watcher.next())
            try:
                either: set[asyncio.Future[Any]] = {coming, left}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                coming.cancel()  # does nothing to what is done
            if left.done() or not coming.done() or (aggregate := coming.result()) is None:
                return
            await send({"type": "http.response.body", "body": b"data: " + aggregate + b"\n\n", "more_body": True})
            count += 1
            if count % CHECK_EVERY == 0 and not await self._may_go_on():
                return

    async def _may_go_on(self) -> bool:
        """Whether the session or the token is still an admin's. Watching does not keep a session from being idle."""
        site, who = self._context.site, self._context.person
        now_ns = site.clock.now_ns()
        try:
            return await site.ledger.ask(lambda raw: sessions.governs(raw, who, now_ns))
        except Refusal:  # not to be found out now
            return False


async def live(context: Context) -> Any:
    """One aggregate a second."""
    return Reply(app=Live(context, context.site.feed.join()))


ROUTES = (Route("GET", "/live", "admin", live, "One aggregate a second (SSE)", answer=server.LiveEvent),)
