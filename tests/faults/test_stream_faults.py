"""What an upstream can do wrong inside a stream (docs/reliability.md F7-F19, F29, F30), and what is charged for it.

After the first event a failure is an error event and the end, without ``[DONE]``: a truncated stream must not look
finished.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psutil
import pytest
from msgspec import Struct

from tests.faults.test_upstream_faults import SECRET, cut, is_clean
from tests.support.rig import Rig, call, until
from tests.support.upstream import DONE, Script, Seen, delta, event, usage

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = 10
THREE = b"".join(delta(" token") for _ in range(3))
STOP = delta(None, finish="stop")


def says(*chunks: bytes, then: Any = Seen.end, pause_s: float = 0.02, head: bytes | None = None) -> Script:
    """A stream of chunks and how it ends; ``head``: without chunked coding, as HTTP/1.0 does it."""

    async def script(seen: Seen) -> None:
        if head is not None:
            await seen.send(head + b"".join(chunks))
        else:
            await seen.head_sse()
            for chunk in chunks:
                await seen.chunk(chunk)
        await asyncio.sleep(pause_s)
        await then(seen)

    return script


async def gone(seen: Seen) -> None:
    assert await seen.gone()


async def closes(seen: Seen) -> None:
    seen.writer.close()


OLD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
BUSY = {"error": {"message": SECRET, "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
BROKE = {"error": {"message": SECRET, "code": 502}, "choices": []}

# script, error code
BROKEN: dict[str, tuple[Script, str]] = {
    "F7 stalls": (says(THREE, then=gone), "upstream_timeout"),
    "F8 RST inside a chunk": (says(THREE, b"data: {", then=cut), "upstream_disconnected"),
    "F8 FIN inside a chunked body": (says(THREE, then=closes), "upstream_disconnected"),
    "F9 the body ends early": (says(THREE), "upstream_truncated"),
    "F9 half an event at the end": (says(THREE, STOP[:-3]), "upstream_truncated"),
    "F9 HTTP/1.0 closes early": (says(THREE, then=closes, head=OLD), "upstream_truncated"),
    "F15 bad JSON": (says(THREE, b'data: {"choices": [\n\n', STOP, DONE), "upstream_invalid_response"),
    "F15 no object": (says(THREE, b"data: 17\n\n", STOP, DONE), "upstream_invalid_response"),
    "F15 wrong types": (says(THREE, b'data: {"choices": 3}\n\n', STOP, DONE), "upstream_invalid_response"),
    "F17 bad UTF-8": (
        says(THREE, b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n', STOP, DONE),
        "upstream_invalid_response",
    ),
    "F17 bad UTF-8 where nobody reads": (
        says(THREE, b'data: {"choices":[{"index":0,"delta":{"x":"\xc3"}}]}\n\n', STOP, DONE),
        "upstream_invalid_response",
    ),
    "F19 a large event": (says(THREE, b"data: " + b"x" * 10_000_000, then=gone), "upstream_invalid_response"),
    "F29 an error event": (says(THREE, event(BUSY)), "upstream_rate_limited"),
    "F29 an error event of another kind": (says(THREE, event(BROKE), STOP, DONE), "upstream_disconnected"),
}


ENDED = {"F9 the body ends early", "F9 half an event at the end"}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_stream_that_breaks_ends_in_an_error_event(faulty: Rig, name: str) -> None:
    faulty.upstream.script, code = BROKEN[name]
    reply = await faulty.post(call(max_tokens=50))
    assert (reply.status, reply.content) == (200, " token" * 3)
    assert reply.error["code"] == code
    assert "[DONE]" not in reply.text
    is_clean(reply, faulty)
    if name not in ENDED:  # a connection whose body has ended is kept for the next request
        await until(lambda: faulty.upstream.open_connections == 0, "the upstream connection is closed")
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["state"], hold["usage_source"], hold["end_reason"]) == ("settled", "partial", code)
    assert (hold["s_input"], hold["s_output"], hold["over_output"]) == (PROMPT, 3, 0)


async def test_f19_a_large_event_is_not_collected(faulty: Rig) -> None:
    faulty.upstream.script = says(THREE, STOP, DONE)
    await faulty.post(call())  # the tokenizer is loaded now
    process = psutil.Process(faulty.server.pid)
    before = process.memory_info().rss
    faulty.upstream.script = says(THREE, b"data: " + b"x" * 50_000_000, then=gone)
    reply = await faulty.post(call())
    assert reply.error["code"] == "upstream_invalid_response"
    assert process.memory_info().rss - before < 40 << 20  # promised: 4 MiB


class Counted(Struct, frozen=True):
    """What a stream that ends well is charged."""

    script: Script
    source: str
    charged: tuple[int, int]
    over: int = 0
    more: dict[str, Any] = {}


def with_usage(*raw: Any) -> Script:
    """Three tokens and then these usage objects, each in a chunk of its own."""
    return says(THREE, STOP, *(event({"choices": [], "usage": each}) for each in raw), DONE)


def cumulative() -> Script:
    """A usage object in every chunk, growing."""
    chunks = [
        event(
            {"choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}], "usage": usage(8, i + 1)}
        )
        for i in range(3)
    ]
    return says(*chunks, STOP, DONE)


LOCAL = (PROMPT, 3)
COUNTED: dict[str, Counted] = {
    "F10 no [DONE], usage": Counted(
        says(THREE, STOP, event({"choices": [], "usage": usage(7, 4)})), "upstream", (7, 4)
    ),
    "F10 no [DONE], no usage": Counted(says(THREE, STOP), "local", LOCAL),
    "F10 no [DONE], still open": Counted(says(THREE, STOP, then=gone), "local", LOCAL),
    "F10 [DONE] without its blank line": Counted(says(THREE, STOP, b"data: [DONE]"), "local", LOCAL),
    "F11 no usage": Counted(says(THREE, STOP, DONE), "local", LOCAL),
    "F11 no finish_reason": Counted(says(THREE, DONE), "local", LOCAL),
    "F12 twice, the last counts": Counted(with_usage(usage(6, 2), usage(7, 4)), "upstream", (7, 4)),
    "F12 cumulative": Counted(cumulative(), "upstream", (8, 3)),
    "F12 null": Counted(with_usage(None), "local", LOCAL),
    "F12 sane, then null": Counted(with_usage(usage(7, 4), None), "upstream", (7, 4)),
    "F12 sane, then insane": Counted(with_usage(usage(7, 4), usage(7, -4)), "upstream", (7, 4)),
    "F12 strings": Counted(with_usage({"prompt_tokens": "7", "completion_tokens": "4"}), "suspect", LOCAL),
    "F12 a string": Counted(with_usage("seven"), "suspect", LOCAL),
    "F12 negative": Counted(with_usage(usage(-7, 4)), "suspect", LOCAL),
    "F12 floats": Counted(with_usage({"prompt_tokens": 7.5, "completion_tokens": 4.0}), "suspect", LOCAL),
    "F12 huge": Counted(with_usage({"prompt_tokens": 10**30, "completion_tokens": 10**30}), "suspect", LOCAL),
    "F12 above all that could be": Counted(with_usage(usage(7, 1000)), "suspect", LOCAL),
    "F12 empty": Counted(with_usage({}), "local", LOCAL),
    "F13 above the hold": Counted(with_usage(usage(12, 57)), "upstream", (PROMPT, 50), 7),
}


@pytest.mark.parametrize("name", COUNTED)
async def test_usage_is_taken_with_suspicion(faulty: Rig, name: str) -> None:
    case = COUNTED[name]
    faulty.upstream.script = case.script
    reply = await faulty.post(call(max_tokens=50))
    assert (reply.status, reply.content, reply.events[-1]) == (200, " token" * 3, "[DONE]")
    assert not any("usage" in chunk for chunk in reply.events[:-1])
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["state"], hold["usage_source"], hold["end_reason"]) == ("settled", case.source, "finished")
    assert (hold["s_input"], hold["s_output"], hold["over_output"]) == (*case.charged, case.over)


@pytest.mark.parametrize("size", [1, 7])
async def test_f14_an_upstream_that_ignores_its_limit_is_cut(faulty: Rig, size: int) -> None:
    stopped = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        try:
            while True:
                await seen.chunk(delta(" token" * size))
                await asyncio.sleep(0.001)
        except OSError:
            stopped.set()

    faulty.upstream.script = script
    reply = await faulty.post(call(max_tokens=20, stream_options={"include_usage": True}))
    await until(stopped.is_set, "the upstream is cut off")
    chunks = reply.events[:-1]
    assert reply.events[-1] == "[DONE]"
    assert reply.content == " token" * (20 // size * size)
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 20
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["s_output"], hold["r_output"], hold["end_reason"]) == (20, 20, "cut")
    assert hold["over_output"] > 0


TEXT = 'Grüße, 世界! 🙂👩‍👩‍👧‍👦 "quoted" \\ \u2028 end'
WHOLE = delta(None, role="assistant") + b"".join(delta(c) for c in TEXT) + STOP
WHOLE += event({"choices": [], "usage": usage(7, 30)}) + DONE
UNESCAPED = json.dumps({"choices": [{"index": 0, "delta": {"content": TEXT}}]}, ensure_ascii=False).encode()
SPLITS = {
    "every byte": [WHOLE[i : i + 1] for i in range(len(WHOLE))],
    "every byte of raw UTF-8": [
        (b"data: " + UNESCAPED + b"\n\n" + STOP + event({"choices": [], "usage": usage(7, 30)}) + DONE)[i : i + 1]
        for i in range(len(UNESCAPED) + len(STOP) + 260)
    ],
    "all at once": [WHOLE],
    "in the middle of line breaks": [piece + b"\n" for piece in WHOLE.split(b"\n")[:-1]],
}


@pytest.mark.parametrize("name", SPLITS)
async def test_f16_the_text_is_the_same_however_it_is_cut(faulty: Rig, name: str) -> None:
    pieces = [piece for piece in SPLITS[name] if piece]

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        for number, piece in enumerate(pieces):
            await seen.chunk(piece)
            if number % 50 == 0:
                await asyncio.sleep(0)
        await seen.end()

    faulty.upstream.script = script
    reply = await faulty.post(call(max_tokens=200))
    assert (reply.content, reply.events[-1]) == (TEXT, "[DONE]")
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == ("upstream", 7, 30)


SPACED = json.dumps({"choices": [{"index": 0, "delta": {"content": " token"}}]}, indent=1).encode()
FRAMED: dict[str, bytes] = {
    "CR": WHOLE.replace(b"\n", b"\r"),
    "CRLF": WHOLE.replace(b"\n", b"\r\n"),
    "mixed": WHOLE.replace(b"\n\n", b"\r\n\n", 5).replace(b"\n\n", b"\r\r", 3),
    "no space": WHOLE.replace(b"data: ", b"data:"),
    "comments": b": hello\n\n" + WHOLE.replace(b"data: ", b": ping\ndata: "),
    "a BOM": b"\xef\xbb\xbf" + WHOLE,
    "empty data": b"data:\n\ndata\n\n" + WHOLE.replace(b"data: ", b"data:\n\ndata: "),
    "fields": WHOLE.replace(b"data: ", b"event: message\nid: 7\nretry: 1\nx\ndata: "),
}


@pytest.mark.parametrize("name", FRAMED)
async def test_f18_framing_is_brought_into_one_form(faulty: Rig, name: str) -> None:
    faulty.upstream.script = says(FRAMED[name])
    reply = await faulty.post(call(max_tokens=200))
    assert (reply.content, reply.events[-1]) == (TEXT, "[DONE]")
    assert "\r" not in reply.text
    assert len(reply.events) == len(TEXT) + 3
    assert faulty.hold(reply.headers["x-request-id"])["usage_source"] == "upstream"


async def test_f18_data_on_several_lines_is_one_event(faulty: Rig) -> None:
    several = b"".join(b"data: " + line + b"\n" for line in SPACED.split(b"\n")) + b"\n"
    faulty.upstream.script = says(several, STOP, DONE)
    reply = await faulty.post(call(max_tokens=50))
    assert (reply.content, len(reply.events)) == (" token", 3)
    assert faulty.hold(reply.headers["x-request-id"])["s_output"] == 1


async def test_f30_choices_tools_and_reasoning_are_relayed_and_counted(faulty: Rig) -> None:
    def chunk(index: int, member: dict[str, Any], finish: str | None = None) -> bytes:
        return event({"choices": [{"index": index, "delta": member, "finish_reason": finish}]})

    function = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a":1}'}}
    sent = [
        chunk(0, {"reasoning_content": " thinking"}),
        chunk(1, {"content": " token"}),
        chunk(0, {"tool_calls": [function]}),
        chunk(1, {"refusal": " no"}),
        chunk(0, {"tool_calls": [more]}),
        chunk(0, {}, "tool_calls"),
        chunk(1, {}, "stop"),
    ]
    faulty.upstream.script = says(*sent, DONE)
    reply = await faulty.post(call(max_tokens=20, n=2))
    got = [e["choices"] for e in reply.events[:-1]]
    assert got == [json.loads(s[6:])["choices"] for s in sent]
    hold = faulty.hold(reply.headers["x-request-id"])
    assert (hold["usage_source"], hold["r_output"]) == ("local", 40)
    assert hold["s_output"] == 1 + 1 + 1 + 1 + 5  # thinking, token, no, look, {"a":1}
