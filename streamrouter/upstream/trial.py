"""One short prompt to one upstream, to see whether and how fast it answers. No books, no breaker, no fall-back."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from streamrouter.clock import Clock
from streamrouter.errors import Upstreamed
from streamrouter.upstream.dispatch import Upstream
from streamrouter.upstream.verdicts import ERROR_BODY_BYTES, refused, scrub
from streamrouter.wire.chunk import BadChunk, decode_chunk, texts
from streamrouter.wire.sse import DONE, EventTooLarge, Splitter

PROMPT = "Reply with one word: pong"
MOST_TOKENS = 16
MOST_BYTES = 64 * 1024
LONGEST_S = 30.0


class _Listener:
    """Reads an answer's events until they end, and notes when the first text came."""

    def __init__(self, clock: Clock) -> None:
        self.over: asyncio.Future[Upstreamed | None] = asyncio.get_running_loop().create_future()
        self.first_at: float | None = None
        self.pieces: list[str] = []
        self._clock = clock
        self._splitter = Splitter(MOST_BYTES)
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        try:
            for payload in self._splitter.feed(data):
                if payload != DONE:
                    self._take(payload)
        except (EventTooLarge, BadChunk):
            self._end(Upstreamed("upstream_invalid_response", "The answer is not a stream of chat completion chunks."))
        if self._size > MOST_BYTES:
            self._end(None)

    def _take(self, payload: bytes) -> None:
        for choice in decode_chunk(payload).choices or ():
            for _, text in texts(choice.delta):
                if self.first_at is None:
                    self.first_at = self._clock.monotonic()
                self.pieces.append(text)

    def flush(self) -> None:
        """Every event was read when it came."""

    def ended(self, fault: Upstreamed | None) -> None:
        self._end(fault)

    def _end(self, fault: Upstreamed | None) -> None:
        if not self.over.done():
            self.over.set_result(fault)


async def trial(upstream: Upstream, model: str, clock: Clock, request_id: str) -> dict[str, Any]:
    """How it went, as JSON: ``ok``, ``status``, ``ttft_ms``, ``duration_ms``, ``text`` or ``error``."""
    config = upstream.config
    body = orjson.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            config.max_tokens_field or "max_tokens": MOST_TOKENS,
            "stream": True,
        }
    )
    began = clock.monotonic()
    listener = _Listener(clock)
    status: int | None = None
    error = None
    try:
        async with asyncio.timeout(min(LONGEST_S, config.first_byte_s)):
            exchange = await upstream.transport.send(body, {"x-request-id": request_id}, stream=True)
            status = exchange.status
            try:
                if not 200 <= status < 300:
                    raise refused(status, exchange.headers, (await exchange.read(ERROR_BODY_BYTES))[0])
                exchange.push(listener)
                fault = await listener.over
                if fault is not None:
                    raise fault
            finally:
                exchange.close()
    except TimeoutError:
        error = "No whole answer in time."
    except Upstreamed as fault:
        error = f"{fault.code}: {fault.message}"
    text = scrub("".join(listener.pieces))
    if error is None and not text:
        error = "The answer has no text."
    first = listener.first_at
    return {
        "ok": error is None,
        "status": status,
        "ttft_ms": None if first is None else round((first - began) * 1000),
        "duration_ms": round((clock.monotonic() - began) * 1000),
        "text": text or None,
        "error": error,
    }
