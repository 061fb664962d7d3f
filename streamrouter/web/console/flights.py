"""Requests in flight, and stopping one: its client gets an error event (or a status) with ``stopped_by_admin``."""

from __future__ import annotations

from typing import Any

from streamrouter.web.console.answers import server
from streamrouter.web.console.route import Context, Empty, Route


async def listed(context: Context) -> Any:
    return {"data": await context.perform("streams.list"), "next": None}


async def stopped(context: Context) -> Any:
    return await context.perform("streams.stop", id=context.path["id"])


ROUTES = (
    Route("GET", "/streams", "admin", listed, "Requests in flight, the oldest first", answer=server.Flights),
    Route("POST", "/streams/{id}/stop", "admin", stopped, "End a request in flight", Empty, answer=server.Stopped),
)
