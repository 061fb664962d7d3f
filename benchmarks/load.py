"""A client that is fast enough not to be measured: raw protocols that count events and note when they came."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Result:
    """What the clients saw: events and answers counted, first-token times and gaps in seconds."""

    requests: int = 0
    events: int = 0
    errors: int = 0
    ttft_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)


def quantile(values: list[float], q: float) -> float:
    """The ``q`` quantile in milliseconds, 0 for nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000 if ordered else 0.0


class Client(asyncio.Protocol):
    """One connection that sends one request after another until ``count`` are answered."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, count: int, result: Result, stream: bool) -> None:
        self._request = request
        self._left = count
        self._result = result
        self._stream = stream
        self._tail = b""
        self._need = -1
        self._sent_at = self._last_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._result.errors += 1
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._last_at = 0.0
        self._tail = b""
        self._need = -1
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._stream:
            self._streamed(data)
        else:
            self._whole(data)

    def _streamed(self, data: bytes) -> None:
        now = time.perf_counter()
        events = data.count(b"data: ")
        if events:
            self._result.events += events
            if self._last_at:
                self._result.gaps_s.append(now - self._last_at)
            else:
                self._result.ttft_s.append(now - self._sent_at)
            self._last_at = now
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n"):
            self._answered(b"[DONE]" in self._tail)

    def _whole(self, data: bytes) -> None:
        self._tail += data
        if self._need < 0:
            head, found, _ = self._tail.partition(b"\r\n\r\n")
            if not found:
                return
            at = head.lower().find(b"content-length:")
            self._need = len(head) + 4 + int(head[at + 15 :].split(b"\r\n")[0])
        if len(self._tail) >= self._need:
            self._answered(b" 200" in self._tail[:13])

    def _answered(self, good: bool) -> None:
        self._result.requests += 1
        self._result.errors += not good
        self._left -= 1
        if self._left > 0:
            self._send()
        else:
            self.done.set_result(None)
            self.transport.close()


def request_bytes(host: str, path: str, key: str, model: str, *, stream: bool, tokens: int) -> bytes:
    """One chat completion request."""
    messages = [{"role": "user", "content": "Write one short sentence about rivers."}]
    call = {"model": model, "messages": messages, "stream": stream, "max_tokens": tokens}
    body = json.dumps(call).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(port: int, request: bytes, *, clients: int, each: int, stream: bool, spread_s: float) -> Result:
    """``clients`` connections with ``each`` requests in a row, started evenly over ``spread_s``."""
    loop = asyncio.get_running_loop()
    result = Result()

    async def one(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        _, client = await loop.create_connection(lambda: Client(request, each, result, stream), "127.0.0.1", port)
        await client.done

    await asyncio.gather(*(one(spread_s * i / clients) for i in range(clients)))
    return result
