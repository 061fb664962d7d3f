"""An upstream with faults on demand that keeps its own books: what it sent, what it told, and how it came to an end.

Run as ``python -m benchmarks.faulty PORT BOOKS``. What to play is in the request's ``metadata``: ``kind`` (below),
``tokens`` (how many to send), ``pace_ms`` (between two). BOOKS gets one JSON line per answer when it is over.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, TextIO, cast

import uvloop

PROMPT = 10  # what "Say hello." comes to
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BASE = {"id": "chatcmpl-soak", "object": "chat.completion.chunk", "created": 1735689600, "model": "soak"}
PADDING = "x" * 16_000  # what a flood carries beside its one token
REFUSALS = {"refused 429": b"429 Slow", "refused 500": b"500 Oops"}
BROKEN = {
    "bad JSON": b'data: {"choices": [\n\n',
    "error event": b'data: {"error": {"message": "overloaded", "code": "429"}}\n\n',
}
FAULTS = ("reset", "cut", "truncated", "stall", *BROKEN, *REFUSALS, "suspect")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, str], finish: str | None = None, **more: str) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return chunk(
        b"data: " + json.dumps({**BASE, "choices": [choice], **more}, separators=(",", ":")).encode() + b"\n\n"
    )


def told(output: int) -> bytes:
    """The event that tells the usage."""
    usage = {"prompt_tokens": PROMPT, "completion_tokens": output, "total_tokens": PROMPT + output}
    return chunk(b"data: " + json.dumps({**BASE, "choices": [], "usage": usage}).encode() + b"\n\n")


TOKEN = event({"content": " token"})
FLOOD = event({"content": " token"}, padding=PADDING)
FINISH = event({}, "stop")
END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Faulty(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, books: TextIO) -> None:
        self._books = books
        self._buffer = b""
        self._answer: dict[str, Any] | None = None
        self._left = 0
        self._pace_s = 0.0
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._blocked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._over("lost")

    def pause_writing(self) -> None:
        self._blocked_at = time.monotonic()

    def resume_writing(self) -> None:
        self._blocked_at = 0.0
        if self._answer is not None and self._answer["kind"] == "flood":
            self._flood()

    def _over(self, how: str) -> None:
        answer, self._answer = self._answer, None
        if answer is None:
            return
        blocked_s = time.monotonic() - self._blocked_at if self._blocked_at else 0.0
        self._books.write(json.dumps({**answer, "how": how, "blocked_s": blocked_s}) + "\n")
        self._books.flush()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        name = head[lower.find(b"x-request-id:") + 13 :].split(b"\r\n")[0].strip().decode()
        self._begin(name, json.loads(rest[:length])["metadata"])

    def _begin(self, name: str, plan: dict[str, str]) -> None:
        kind = plan["kind"]
        self._answer = {"id": name, "kind": kind, "sent": 0}
        if kind in REFUSALS:
            body = b"<html>no</html>"
            self.transport.write(
                b"HTTP/1.1 %b\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
                % (REFUSALS[kind], len(body), body)
            )
            self._over("refused")
            return
        self.transport.write(HEAD)
        if kind == "flood":
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # a thousand of them share this machine
            self._flood()
            return
        self._left, self._pace_s = int(plan["tokens"]), int(plan["pace_ms"]) / 1000
        self._at = asyncio.get_running_loop().time()
        self._next()

    def _flood(self) -> None:
        while not self._blocked_at and self._answer is not None and not self.transport.is_closing():
            self._answer["sent"] += 1
            self.transport.write(FLOOD)

    def _next(self) -> None:
        answer = self._answer
        if answer is None:
            return
        if self._left > 0:
            self._left -= 1
            answer["sent"] += 1
            self.transport.write(TOKEN)
            self._at += self._pace_s
            self._timer = asyncio.get_running_loop().call_at(self._at, self._next)
        else:
            self._finish(answer["kind"], answer["sent"])

    def _finish(self, kind: str, sent: int) -> None:
        """Play the end that was asked for."""
        if kind == "stall":
            return  # until the other side hangs up
        if kind in BROKEN:
            self.transport.write(chunk(BROKEN[kind]))
        elif kind == "reset":
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif kind == "cut":
            self.transport.close()
        elif kind == "truncated":
            self.transport.write(b"0\r\n\r\n")
        else:
            usage = {"untold": b"", "suspect": told(-sent)}.get(kind, told(sent))
            self.transport.write(FINISH + usage + END)
        self._over(kind)


async def main(port: int, books: TextIO) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Faulty(books), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w") as opened:
        uvloop.run(main(int(sys.argv[1]), opened))
