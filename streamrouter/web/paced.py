"""A little stream that costs nothing: it shows `streamrouter doctor --url` whether a proxy in front holds streams back.

It needs no key and tells nothing: a few events at an even pace, with the headers that every stream of ours has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from streamrouter.errors import Refusal

PATH = "/healthz/stream"
EVENTS = 6
PERIOD_S = 0.1
_MOST = 16  # at once: strangers may ask for it


class PacedStream:
    """``GET /healthz/stream``; with ``?plain`` without the header that tells nginx to leave streams alone."""

    def __init__(self, period_s: float = PERIOD_S, most: int = _MOST) -> None:
        self._period_s = period_s
        self._most = most
        self._running = 0

    async def watched(self, request: Request) -> Response:
        """Six events, a tenth of a second apart. Raises Refusal (503) where many are watching already."""
        if self._running >= self._most:
            raise Refusal("overloaded", "Too many streams are being looked at. Try again.", retry_after_s=1)
        headers = {"Cache-Control": "no-store"}
        if "plain" not in request.query_params:
            headers["X-Accel-Buffering"] = "no"
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)

    async def _events(self) -> AsyncIterator[bytes]:
        self._running += 1
        try:
            for number in range(1, EVENTS + 1):
                yield b'data: {"event":%d,"of":%d}\n\n' % (number, EVENTS)
                if number < EVENTS:
                    await asyncio.sleep(self._period_s)
        finally:
            self._running -= 1
