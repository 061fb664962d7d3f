"""What an upstream can do wrong before its first event, and what the client and the ledger get (reliability.md F1-F31).

What goes wrong inside a stream is in test_stream_faults.py.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

from tests.support.rig import PROVIDER_KEY, Reply, Rig, call, until
from tests.support.upstream import Script, Seen, completion, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "upstream-text-that-nobody-may-see"
PROMPT = 10


class Case(Struct, frozen=True):
    """A script, and what comes of it. ``charged``: (input, output) tokens, None for a released hold."""

    script: Script
    status: int
    code: str
    source: str
    charged: tuple[int, int] | None = None
    stream: bool | None = None  # None: both ways
    more: dict[str, Any] = {}


def replies(status: str, body: bytes | str, kind: str = "application/json", extra: str = "") -> Script:
    """A whole response."""

    async def script(seen: Seen) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        await seen.raw_body(data, status, kind, extra)

    return script


def sends(*data: bytes, then: Callable[[Seen], Awaitable[Any]] | None = None, pace_s: float = 0.0) -> Script:
    """Raw bytes on the connection."""

    async def script(seen: Seen) -> None:
        for piece in data:
            await seen.send(piece)
            await asyncio.sleep(pace_s)
        await (then or Seen.gone)(seen)

    return script


async def cut(seen: Seen) -> None:
    seen.reset()


async def closed(seen: Seen) -> None:
    seen.writer.close()


def refusal(message: str, **more: Any) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, **more}})


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
HTML = f"<html><body>{SECRET} at http://10.0.0.1:8080/</body></html>"
BOMB = gzip.compress(b"\0" * 10_000_000)
IN_SSE = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BUSY = json.dumps({"error": {"message": SECRET, "type": "rate_limit_error", "code": "rate_limit_exceeded"}})

CASES: dict[str, Case] = {
    "F3 no headers": Case(sends(), 504, "upstream_timeout", "ambiguous", (PROMPT, 0)),
    "F4 headers that trickle": Case(
        sends(*(HEADERS[i : i + 1] for i in range(len(HEADERS))), pace_s=0.02),
        504,
        "upstream_timeout",
        "ambiguous",
        (PROMPT, 0),
    ),
    "F5 a body that trickles": Case(
        sends(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"),
        504,
        "upstream_timeout",
        "ambiguous",
        (PROMPT, 0),
        stream=False,
    ),
    "F8 a whole answer cut by RST": Case(
        sends(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{", then=cut, pace_s=0.02
        ),
        502,
        "upstream_disconnected",
        "ambiguous",
        (PROMPT, 0),
        stream=False,
    ),
    "F9 a whole answer cut by FIN": Case(
        sends(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
            then=closed,
            pace_s=0.02,
        ),
        502,
        "upstream_disconnected",
        "ambiguous",
        (PROMPT, 0),
        stream=False,
    ),
    "F9 no event at all": Case(
        sends(IN_SSE.encode(), then=closed), 502, "upstream_invalid_response", "ambiguous", (PROMPT, 0), stream=True
    ),
    "F11 [DONE] and nothing else": Case(
        sends(IN_SSE.encode() + b"data: [DONE]\n\n", then=closed),
        502,
        "upstream_invalid_response",
        "ambiguous",
        (PROMPT, 0),
        stream=True,
    ),
    "F21 rate-limited": Case(
        replies("429 Too Many Requests", refusal(SECRET), extra="Retry-After: 7\r\n"),
        429,
        "upstream_rate_limited",
        "none",
    ),
    **{
        f"F22 HTML {status}": Case(replies(f"{status} No", HTML, "text/html"), 502, "upstream_invalid_response", "none")
        for status in (500, 502, 503, 529)
    },
    "F22 a timeout of theirs": Case(replies("504 Slow", HTML, "text/html"), 504, "upstream_timeout", "none"),
    **{
        f"F23 our key is bad, {status}": Case(
            replies(f"{status} No", refusal(f"Incorrect API key {PROVIDER_KEY}: {SECRET}")),
            502,
            "upstream_auth",
            "none",
        )
        for status in (401, 403)
    },
    "F24 a bad request": Case(
        replies("400 Bad Request", refusal(f"top_k is unknown, see https://x.example/{SECRET} with {PROVIDER_KEY}")),
        400,
        "upstream_rejected",
        "none",
    ),
    "F24 a bad request without JSON": Case(
        replies("400 Bad Request", HTML, "text/html"), 400, "upstream_rejected", "none"
    ),
    "F26 a redirect": Case(
        replies("307 Elsewhere", SECRET, extra="Location: http://127.0.0.1:1/v1\r\n"),
        502,
        "upstream_invalid_response",
        "none",
    ),
    **{
        f"F27 {coding}": Case(
            replies("200 OK", BOMB, kind, f"Content-Encoding: {coding}\r\n"),
            502,
            "upstream_invalid_response",
            "ambiguous",
            (PROMPT, 0),
            stream,
        )
        for coding in ("gzip", "br")
        for kind, stream in (("text/event-stream", True), ("application/json", False))
    },
    "F28 HTML": Case(replies("200 OK", HTML, "text/html"), 502, "upstream_invalid_response", "ambiguous", (PROMPT, 0)),
    "F28 JSON of another kind": Case(
        replies("200 OK", json.dumps({"text": SECRET})), 502, "upstream_invalid_response", "ambiguous", (PROMPT, 0)
    ),
    "F28 an error with status 200": Case(replies("200 OK", BUSY), 429, "upstream_rate_limited", "none"),
    "F28 text without events": Case(
        replies("200 OK", SECRET, "text/plain"), 502, "upstream_invalid_response", "ambiguous", (PROMPT, 0), stream=True
    ),
    "F29 an error as the first event": Case(
        replies("200 OK", f"data: {BUSY}\n\n", "text/event-stream"), 429, "upstream_rate_limited", "none", stream=True
    ),
    "F31 an answer that is too large": Case(
        replies("200 OK", json.dumps(completion("x" * 3_000_000))),
        502,
        "upstream_invalid_response",
        "suspect",
        (PROMPT, 50),
        stream=False,
    ),
    "F31 no HTTP": Case(sends(b"SSH-2.0-x\r\n\r\n"), 502, "upstream_invalid_response", "ambiguous", (PROMPT, 0)),
}
BOTH = [(name, way) for name, case in CASES.items() for way in (True, False) if case.stream in (None, way)]


def is_clean(reply: Reply, rigged: Rig) -> None:
    """OpenAI's shape with our request id, and nothing of the upstream's."""
    error = reply.error
    assert error.keys() == {"message", "type", "param", "code", "request_id"}
    assert error["request_id"] == reply.headers["x-request-id"]
    everything = reply.text + str(reply.headers)
    port = rigged.upstream.url.split(":")[2].split("/")[0]
    for forbidden in (SECRET, PROVIDER_KEY, "http://", "https://", "127.0.0.1", f":{port}", "Traceback", "aiohttp"):
        assert forbidden not in everything.replace(rigged.server.root, "")


async def back_to_base(rigged: Rig) -> None:
    """Nothing in flight; no upstream connection with a request on it."""
    await rigged.settled()
    assert rigged.usage()["in_flight"] == 0


@pytest.mark.parametrize(("name", "stream"), BOTH, ids=[f"{n}, {'stream' if s else 'whole'}" for n, s in BOTH])
async def test_a_fault_before_the_first_event(faulty: Rig, name: str, stream: bool) -> None:
    case = CASES[name]
    faulty.upstream.script = case.script
    reached = len(faulty.seen)
    reply = await faulty.post(call(stream, max_tokens=50, **case.more))
    assert (reply.status, reply.error["code"]) == (case.status, case.code)
    is_clean(reply, faulty)
    await back_to_base(faulty)
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["end_reason"]) == (case.source, case.code)
    assert hold["state"] == ("released" if case.charged is None else "settled")
    assert (hold["s_input"], hold["s_output"]) == (case.charged or (0, 0))
    assert len(faulty.seen) == reached + 1
    assert name != "F21 rate-limited" or reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", ["refused", "unnamed", "plain"])
@pytest.mark.parametrize("stream", [True, False])
async def test_f1_an_upstream_that_cannot_be_reached(faulty: Rig, model: str, stream: bool) -> None:
    reply = await faulty.post(call(stream, model=model))
    assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")
    is_clean(reply, faulty)
    assert faulty.hold(reply.headers["x-request-id"])["state"] == "released"


async def test_f5_silence_after_the_status_is_filled_and_ends_in_an_error_event(faulty: Rig) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.gone()

    faulty.upstream.script = script
    reply = await faulty.post(call(max_tokens=50))
    *filled, last = reply.events
    assert reply.status == 200
    assert filled
    assert all(e["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}] for e in filled)
    assert last["error"]["code"] == "upstream_timeout"
    is_clean(reply, faulty)
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("ambiguous", PROMPT, 0)


@pytest.mark.parametrize("kind", ["429", "503", "refused"])
@pytest.mark.parametrize("stream", [True, False])
async def test_f21_the_next_target_is_tried_before_the_client_is_told(faulty: Rig, kind: str, stream: bool) -> None:
    async def good(seen: Seen) -> None:
        await (streamed(["fine"])(seen) if stream else seen.json(completion("fine")))

    faults = {
        "429": replies("429 No", refusal(SECRET), extra="Retry-After: 1\r\n"),
        "503": replies("503 No", HTML, "text/html"),
        "refused": sends(then=cut),
    }
    faulty.upstream.queue[:] = [faults[kind], good]
    reply = await faulty.post(call(stream, model="two"))
    assert reply.status == 200
    assert "fine" in reply.text
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["state"], hold["usage_source"]) == ("settled", "upstream")
    assert hold["upstream"] == reply.headers["x-streamrouter-upstream"]


async def test_f25_an_error_body_without_end_is_not_read(faulty: Rig) -> None:
    sent = 0
    stopped = asyncio.Event()

    async def script(seen: Seen) -> None:
        nonlocal sent
        await seen.send(b"HTTP/1.1 500 No\r\nContent-Type: text/html\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1600):
                await seen.send(b"x" * 65536)
                sent += 65536
        except OSError:
            stopped.set()

    faulty.upstream.script = script
    reply = await faulty.post(call())
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")
    await until(stopped.is_set, "the connection is cut")
    assert sent < 20_000_000  # what the sockets between them hold, and no more
    assert faulty.hold(reply.headers["x-request-id"])["state"] == "released"


async def test_f28_a_whole_answer_becomes_a_stream(faulty: Rig) -> None:
    faulty.upstream.script = replies("200 OK", json.dumps(completion("two words", 7, 2)))
    reply = await faulty.post(call(stream_options={"include_usage": True}))
    assert (reply.status, reply.content, reply.events[-1]) == (200, "two words", "[DONE]")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [e["usage"]["total_tokens"] for e in reply.events[:-1] if e.get("usage")] == [9]
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("upstream", 7, 2)


@pytest.mark.parametrize("how", [cut, closed], ids=["rst", "fin"])
@pytest.mark.parametrize("stream", [True, False])
async def test_f51_a_stale_pooled_connection_is_tried_once_more(
    faulty: Rig, how: Callable[[Seen], Awaitable[None]], stream: bool
) -> None:
    async def good(seen: Seen) -> None:
        await (streamed(["fine"], prompt=7)(seen) if stream else seen.json(completion("fine", 7, 1)))

    faulty.upstream.queue[:] = [good, sends(then=how), good]
    for _ in range(2):
        reply = await faulty.post(call(stream))
        assert reply.status == 200
        assert "fine" in reply.text
    assert faulty.upstream.queue == []
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("upstream", 7, 1)
    faulty.upstream.queue[:] = [good, sends(then=how), sends(then=how)]
    last = [await faulty.post(call(stream)) for _ in range(2)][-1]
    assert (last.status, last.error["code"]) == (502, "upstream_disconnected")
