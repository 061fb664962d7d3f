"""An upstream that is fast enough not to be measured: a raw protocol, answers made once, one timer per paced stream.

``python -m benchmarks upstream``. A request's ``model`` says what to play: ``burst`` (all events at once), ``paced``
(one event every ``--pace`` ms), ``paced-N`` (every N ms), ``fault-NAME`` (see ``FAULTS``); any other name streams at
``--pace``. Without ``stream`` the answer is whole. A stream has ``max_tokens`` events of one token each between one
with the role and one with the finish reason, and ends with the usage if it is asked for, like OpenAI's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import orjson

PROMPT_TOKENS = 81  # what streamrouter.bench.target.PROMPT comes to in o200k
DEFAULT_TOKENS = 100
MOST_TOKENS = 1_000_000
MOST_KEPT = 512
FAULTS = ("reset", "stall", "500", "429", "truncated", "cut", "garbage", "error", "silent")
WORDS = (" the", " orders", " tablet", " first", " week", " paper", " check", " twice", " people", " and", " you", ",")
_ID = {"id": "chatcmpl-BqZ4n0Qb2m7XkT9vLw3aRcE8yHsUd", "created": 1735689600, "model": "gpt-4o-mini-2024-07-18"}
_CHUNK = {"object": "chat.completion.chunk", **_ID}
_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 03 Feb 2025 10:00:00 GMT\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nx-request-id: req_4f1c2a\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_LAST = b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _data(value: dict[str, Any]) -> bytes:
    return _chunk(b"data: " + orjson.dumps(value) + b"\n\n")


def event(delta: dict[str, str], finish: str | None = None, *, usage: bool = True) -> bytes:
    """An event in its chunk, some 240 bytes. Where a usage was asked for, all events have the member."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data({**_CHUNK, "choices": [choice], **({"usage": None} if usage else {})})


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}


def _plain(status: bytes, body: bytes, *headers: bytes) -> bytes:
    more = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        more,
        len(body),
        body,
    )


def _whole(tokens: int) -> bytes:
    """A whole answer of some ``tokens`` tokens."""
    text = "".join(WORDS[i % len(WORDS)] for i in range(tokens)).strip()
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {**_ID, "object": "chat.completion", "choices": [choice], "usage": _usage(tokens)}
    return _plain(b"200 OK", orjson.dumps(body), b"x-request-id: req_4f1c2a")


def _refusal(status: bytes, code: str, *headers: bytes) -> bytes:
    error = {"message": "not now", "type": code, "param": None, "code": code}
    return _plain(status, orjson.dumps({"error": error}), *headers)


MODELS = _plain(b"200 OK", orjson.dumps({"object": "list", "data": [{"id": "paced", "object": "model"}]}))
HEALTHY = _plain(b"200 OK", b"{}")
UNKNOWN = _refusal(b"404 Not Found", "not_found")
FAILED = _refusal(b"500 Internal Server Error", "server_error")
SLOWED = _refusal(b"429 Too Many Requests", "rate_limit_exceeded", b"Retry-After: 1")
GARBAGE = _chunk(b'data: {"choices": [\n\n') + _chunk(b"data: [DONE]\n\n") + _LAST
ERROR = _data({"error": {"message": "overloaded", "type": "server_error", "code": "overloaded"}}) + _LAST


class Script(NamedTuple):
    """What a request is answered with. ``pace_s`` None: ``first`` is all; otherwise one of ``tokens`` per pace."""

    first: bytes
    tokens: int = 0
    pace_s: float | None = None
    end: bytes = b""
    fault: str = ""
    usage: bool = False


class Playing(NamedTuple):
    """What the server does unless the model's name says otherwise. ``fault``: every ``fault_every``-th request's."""

    pace_s: float = 0.020
    fault: str = ""
    fault_every: int = 0


TOKENS = {usage: [event({"content": word}, usage=usage) for word in WORDS] for usage in (False, True)}
ROLE = {usage: event({"role": "assistant", "content": "", "refusal": ""}, usage=usage) for usage in (False, True)}


def _end(tokens: int, usage: bool) -> bytes:
    told = _data({**_CHUNK, "choices": [], "usage": _usage(tokens)}) if usage else b""
    return event({}, "stop", usage=usage) + told + _chunk(b"data: [DONE]\n\n") + _LAST


def script_of(body: bytes, playing: Playing) -> Script:
    """The script for a request's body; a 404 for one that is no chat completion."""
    try:
        call: dict[str, Any] = orjson.loads(body)
        model = str(call["model"])
        tokens = int(call.get("max_tokens") or call.get("max_completion_tokens") or DEFAULT_TOKENS)
        usage = bool((call.get("stream_options") or {}).get("include_usage"))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return Script(UNKNOWN)
    tokens = max(1, min(tokens, MOST_TOKENS))
    fault = model.removeprefix("fault-") if model.startswith("fault-") else ""
    if fault in ("500", "429"):
        return Script(FAILED if fault == "500" else SLOWED)
    if not call.get("stream"):
        return Script(_whole(tokens), fault=fault)
    if model == "burst":
        middle = b"".join(TOKENS[usage][i % len(WORDS)] for i in range(tokens))
        return Script(_HEAD + ROLE[usage] + middle + _end(tokens, usage))
    pace = model.removeprefix("paced-")
    pace_s = float(pace) / 1000 if pace != model and pace.isdigit() else playing.pace_s
    return Script(_HEAD + ROLE[usage], tokens, pace_s, _end(tokens, usage), fault, usage)


def content_length(head: bytes) -> int:
    """A request's; 0 if it says none."""
    at = head.find(b"Content-Length: ")
    if at < 0:
        lower = head.lower()
        at = lower.find(b"\r\ncontent-length:")
        return int(head[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
    return int(head[at + 16 :].partition(b"\r\n")[0])


class Upstream(asyncio.Protocol):
    """One connection. ``scripts``: those of bodies that came before, shared by all connections."""

    transport: asyncio.Transport

    def __init__(self, playing: Playing, scripts: dict[bytes, Script], numbers: Callable[[], int]) -> None:
        self._playing = playing
        self._scripts = scripts
        self._number = numbers
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._script = Script(b"")
        self._sent = 0
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._buffer = data
            return
        stop = end + content_length(data[:end])
        if len(data) < stop:
            self._buffer = data
            return
        self._buffer = data[stop:]
        if data.startswith(b"POST"):
            self._answer(data[end:stop])
        else:
            path = data[4:].partition(b" ")[0]
            self.transport.write(MODELS if path.endswith(b"/models") else HEALTHY if path == b"/health" else UNKNOWN)

    def _answer(self, body: bytes) -> None:
        script = self._scripts.get(body)
        if script is None:
            script = script_of(body, self._playing)
            if len(self._scripts) < MOST_KEPT:
                self._scripts[body] = script
        if self._playing.fault_every and self._number() % self._playing.fault_every == 0:
            script = script._replace(fault=self._playing.fault)
        if script.fault:
            self._spoil(script)
            return
        self.transport.write(script.first)
        if script.pace_s is not None:
            self._begin(script)

    def _begin(self, script: Script) -> None:
        self._script, self._sent = script, 0
        self._at = self._loop.time()
        self._pace()

    def _pace(self) -> None:
        self._at += self._script.pace_s or 0.0
        self._timer = self._loop.call_at(self._at, self._next)

    def _next(self) -> None:
        script = self._script
        if self._sent < script.tokens:
            self.transport.write(TOKENS[script.usage][self._sent % len(WORDS)])
            self._sent += 1
            self._pace()
        elif script.fault:
            self._break(script.fault)
        else:
            self.transport.write(script.end)

    def _spoil(self, script: Script) -> None:
        """The faults that begin with the answer; the others come after the last token."""
        if script.fault in ("500", "429"):
            self.transport.write(FAILED if script.fault == "500" else SLOWED)
        elif script.fault == "silent":
            return  # until the other side hangs up
        elif script.pace_s is None:
            self.transport.write(script.first[: len(script.first) // 2])
            self._break(script.fault)
        else:
            self.transport.write(script.first)
            self._begin(script)

    def _break(self, fault: str) -> None:
        if fault == "reset":
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif fault == "cut":
            self.transport.close()
        elif fault == "truncated":
            self.transport.write(_LAST)
        elif fault == "garbage":
            self.transport.write(GARBAGE)
        elif fault == "error":
            self.transport.write(ERROR)


async def serve(sock: socket.socket, playing: Playing) -> None:
    """Serve on a listening socket until cancelled."""
    scripts: dict[bytes, Script] = {}
    number = 0

    def numbers() -> int:
        nonlocal number
        number += 1
        return number

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(playing, scripts, numbers), sock=sock, backlog=8192)
    await server.serve_forever()
