"""An upstream that is fast enough not to be measured: a raw protocol, answers made once, paced by one timer.

Run as ``python -m benchmarks.upstream PORT``. The request's ``model`` says what to play: ``paced`` (one event per
``PACE_S`` until ``max_tokens``), ``burst`` (all events at once), anything else a whole answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

PACE_S = 0.020
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_BASE = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1735689600, "model": "bench"}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _chunk(b"data: " + json.dumps({**_BASE, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n")


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


TOKEN = _event({"content": " token"})
FINISH = _event({}, "stop")


def _tail(tokens: int) -> bytes:
    usage = json.dumps({**_BASE, "choices": [], "usage": _usage(8, tokens)}, separators=(",", ":")).encode()
    return FINISH + _chunk(b"data: " + usage + b"\n\n") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _whole() -> bytes:
    message = {"role": "assistant", "content": "A short answer of some ten tokens, give or take."}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps({**_BASE, "object": "chat.completion", "choices": [choice], "usage": _usage(8, 12)}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


WHOLE = _whole()


class Upstream(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._tokens = 0
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
        if len(rest) >= length:
            self._buffer = rest[length:]
            self._answer(rest[:length])

    def _answer(self, body: bytes) -> None:
        if b'"paced"' in body or b'"burst"' in body:
            request = json.loads(body)
            self._tokens = self._left = request.get("max_tokens") or request.get("max_completion_tokens") or 100
            if request["model"] == "burst":
                self.transport.write(_HEAD + TOKEN * self._tokens + _tail(self._tokens))
            else:
                self._at = asyncio.get_running_loop().time()
                self.transport.write(_HEAD + TOKEN)
                self._pace()
        else:
            self.transport.write(WHOLE)

    def _pace(self) -> None:
        self._left -= 1
        self._at += PACE_S
        self._timer = asyncio.get_running_loop().call_at(self._at, self._next)

    def _next(self) -> None:
        if self._left > 0:
            self.transport.write(TOKEN)
            self._pace()
        else:
            self.transport.write(_tail(self._tokens))


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
