"""What an upstream is to the rest: something that one request is sent to, and whose answer is pushed.

A ``Transport`` has one method. The real one is ``client.py`` (aiohttp), the embedded provider is ``demo.py``; tests use
either, nothing is patched. The answer's bytes are not awaited but *pushed* into a ``Target`` from the read callback.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol

from streamrouter.errors import Upstreamed

# Has this task's request reached a connection? While it has not, nothing can be billed. A transport that connects sets
# it to False before and to True after; for one that does not, whatever is sent has arrived.
reached: ContextVar[bool] = ContextVar("reached", default=True)


class Target(Protocol):
    """Where an answer's body goes. All three are called on the loop and must not raise."""

    def feed(self, data: bytes) -> None:
        """Bytes of the body, in order; more may follow in the same read."""

    def flush(self) -> None:
        """All that one read brought has been fed: act on it."""

    def ended(self, fault: Upstreamed | None) -> None:
        """The body is over: whole (None), or cut short."""


class Exchange(Protocol):
    """An answered request: status and headers are there, the body is to come."""

    status: int
    headers: Mapping[str, str]

    def push(self, target: Target) -> None:
        """Hand the body on to ``target`` from now on (what has arrived already, at once)."""

    async def read(self, most: int) -> tuple[bytes, bool]:
        """Up to ``most`` bytes of the body, and whether that is all of it. Raises Upstreamed when it is cut short."""

    def pause(self) -> None:
        """Stop reading: the client or the lease is behind."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Hang up. A body that was read to its end leaves the connection for the next request."""


class Transport(Protocol):
    """One upstream endpoint."""

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> Exchange:
        """POST ``body`` to chat/completions; returns at the response's headers. Raises Upstreamed."""

    async def close(self) -> None: ...
