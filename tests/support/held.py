"""An upstream that begins to answer and then waits to be told more: for requests that are looked at in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streamrouter.upstream.exchange import Target

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"one two"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class HeldExchange:
    """One stream; ``say`` pushes bytes, ``finish`` ends it. ``silent``: it says nothing by itself."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.closed = False
        self._target: Target | None = None

    def push(self, target: Target) -> None:
        self._target = target
        if not self._silent:
            asyncio.get_running_loop().call_soon(self.say, EVENT)

    def say(self, data: bytes = EVENT) -> None:
        if self._target is not None:
            self._target.feed(data)
            self._target.flush()

    def finish(self) -> None:
        self.say(END)
        if self._target is not None:
            self._target.ended(None)

    async def read(self, most: int) -> tuple[bytes, bool]:
        await asyncio.Event().wait()  # a whole answer that does not come
        return b"", True

    def pause(self) -> None:
        """There is nothing to hold back."""

    def resume(self) -> None:
        """There is nothing to let go."""

    def close(self) -> None:
        self.closed = True
        self._target = None


class HeldTransport:
    """Every request gets a ``HeldExchange``."""

    def __init__(self) -> None:
        self.silent = False
        self.exchanges: list[HeldExchange] = []

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> HeldExchange:
        self.exchanges.append(HeldExchange(silent=self.silent))
        return self.exchanges[-1]

    async def close(self) -> None:
        """Nothing is held."""
