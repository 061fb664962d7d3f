"""The scripted upstream: a raw asyncio server that plays any bytes with any timing and remembers what it saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Script = Callable[["Seen"], Awaitable[None]]


class Seen:
    """One request as the upstream got it, and the connection to answer it on."""

    def __init__(self, head: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.raw = body
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        self.reader = reader
        self.writer = writer
        self.sent_chunks = 0
        self.closed_by_peer = asyncio.Event()

    @property
    def body(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.raw)
        return value

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head_sse(self, extra: str = "") -> None:
        """Status 200 and chunked SSE headers."""
        await self.send(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{extra}Transfer-Encoding: chunked\r\n\r\n".encode()
        )

    async def chunk(self, data: bytes) -> None:
        """One HTTP chunk."""
        self.sent_chunks += 1
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of a chunked body."""
        await self.send(b"0\r\n\r\n")

    async def json(self, value: Any, status: str = "200 OK", extra: str = "") -> None:
        """A whole JSON response."""
        await self.raw_body(json.dumps(value).encode(), status, "application/json", extra)

    async def raw_body(self, body: bytes, status: str, kind: str, extra: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        await self.send(head.encode() + body)

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.writer.transport.abort()

    async def gone(self, timeout_s: float = 5.0) -> bool:
        """Wait until the other side has closed the connection."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        self.closed_by_peer.set()
        return True


def delta(text: str | None, *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    """One framed chunk of content."""
    content = {} if text is None else {"content": text}
    return event({"choices": [{"index": index, "delta": {**content, **more}, "finish_reason": finish}]})


def event(members: dict[str, Any]) -> bytes:
    """A framed chunk with the usual identity."""
    base = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1735689600, "model": "up-model"}
    return b"data: " + json.dumps({**base, **members}, separators=(",", ":")).encode() + b"\n\n"


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """A usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


DONE = b"data: [DONE]\n\n"


def completion(text: str, prompt: int = 7, output: int = 3, **more: Any) -> dict[str, Any]:
    """A whole chat.completion."""
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1735689600,
        "model": "up-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage(prompt, output),
        **more,
    }


def streamed(texts: list[str], *, prompt: int = 7, output: int | None = None, pace_s: float = 0.0) -> Script:
    """A sane stream: role, deltas, finish_reason, usage if asked, [DONE]."""

    async def play(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(None, role="assistant"))
        for text in texts:
            await seen.chunk(delta(text))
            if pace_s:
                await asyncio.sleep(pace_s)
        await seen.chunk(delta(None, finish="stop"))
        if (seen.body.get("stream_options") or {}).get("include_usage"):
            await seen.chunk(event({"choices": [], "usage": usage(prompt, output or len(texts))}))
        await seen.chunk(DONE)
        await seen.end()

    return play


class ScriptedUpstream:
    """Plays ``script`` (or the next of ``queue``) for each request. ``async with`` it; ``url`` includes ``/v1``."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.queue: list[Script] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.most_open = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ScriptedUpstream:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open_connections += 1
        self.most_open = max(self.most_open, self.open_connections)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n")
        seen = Seen(head, b"", reader, writer)
        seen.raw = await reader.readexactly(int(seen.headers.get("content-length", "0")))
        self.seen.append(seen)
        script = self.queue.pop(0) if self.queue else self.script
        if script is None:
            raise AssertionError("no script is left")
        await script(seen)
        return not writer.is_closing()
