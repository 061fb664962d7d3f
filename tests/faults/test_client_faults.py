"""What a client can do wrong (reliability.md F32-F40). Leaving at each point in turn: journeys/test_cancellation.py."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
import re
import time
import zlib
from typing import Any

import psutil
import pytest

from tests.support.leaving import Client
from tests.support.rig import Rig, call, read_all, until
from tests.support.upstream import Seen, completion, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = 10
BODY = json.dumps(call(False)).encode()
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


async def answer(seen: Seen) -> None:
    if seen.body["stream"]:
        await streamed(["fine"], prompt=7)(seen)
    else:
        await seen.json(completion("fine", 7, 1))


def statuses(got: bytes) -> list[int]:
    """The statuses of the responses in ``got``."""
    return [int(status) for status in STATUS.findall(got)]


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def head(faulty: Rig, extra: str) -> bytes:
    """A request's head without a framing of its own."""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {faulty.server.key}\r\n"
        f"Content-Type: application/json\r\n{extra}\r\n"
    ).encode()


@pytest.mark.parametrize("bounded", [True, False], ids=["answered", "never answered"])
async def test_f32b_a_whole_answer_is_read_to_its_end_and_paid(faulty: Rig, bounded: bool) -> None:
    go = asyncio.Event()

    async def script(seen: Seen) -> None:
        await go.wait()
        if bounded:
            await seen.json(completion("fine", 7, 3))
        else:
            assert await seen.gone()

    faulty.upstream.script = script
    before = len(faulty.seen)
    client = await Client.asking(faulty, call(False, max_tokens=50))
    await faulty.reached(before + 1)
    client.leave("rst")
    await asyncio.sleep(0.05)
    go.set()
    hold = (await faulty.settled())[-1]
    assert hold["state"] == "settled"
    expected = ("upstream", 7, 3) if bounded else ("ambiguous", PROMPT, 0)
    assert (hold["usage_source"], hold["s_input"], hold["s_output"]) == expected


async def test_f35_slow_headers_and_idle_connections_are_closed(faulty: Rig) -> None:
    async def trickle(data: bytes) -> float:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", faulty.server.port)
        closed = asyncio.create_task(read_all(reader))
        for position in range(len(data)):
            writer.write(data[position : position + 1])
            await asyncio.sleep(0.02)
            if closed.done():
                break
        await closed
        writer.close()
        return time.monotonic() - began

    before = len(faulty.holds())
    slow, nothing, idle = await asyncio.gather(
        trickle(head(faulty, "") * 10), trickle(b""), faulty.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    )
    assert slow < 5  # configured: 0.5 s
    assert nothing < 5
    assert statuses(idle) == [200]
    assert len(faulty.holds()) == before


async def test_f35_a_slow_body_is_408(faulty: Rig) -> None:
    before = len(faulty.holds())
    reader, writer = await asyncio.open_connection("127.0.0.1", faulty.server.port)
    writer.write(faulty.http(b'{"model":', length=1000))
    began = time.monotonic()
    got = await reader.readuntil(b"}}")
    assert time.monotonic() - began < 4  # configured: 0.4 s
    assert statuses(got) == [408]
    assert b'"request_timeout"' in got
    assert await read_all(reader, 2.0) == b""
    writer.close()
    assert len(faulty.holds()) == before


LARGE = b" " * 5_000_000  # more than the sockets between us hold


@pytest.mark.parametrize("how", ["by its length", "while it grows", "by its length, not waiting"])
async def test_f36_a_large_body_is_413_that_arrives(faulty: Rig, how: str) -> None:
    before = len(faulty.holds())
    reader, writer = await asyncio.open_connection("127.0.0.1", faulty.server.port)
    if how == "while it grows":
        data = head(faulty, "Transfer-Encoding: chunked\r\n") + chunked(*[LARGE[:50_000]] * 100)
    else:
        data = faulty.http(LARGE)
    reading = asyncio.create_task(read_all(reader, 3.0))
    try:
        for start in range(0, len(data), 65536):
            writer.write(data[start : start + 65536])
            await writer.drain()
            if "not waiting" not in how:
                await asyncio.sleep(0.001)
    except OSError:
        pass  # it need not take all of it
    got = await reading
    writer.close()
    assert statuses(got) == [413]
    assert b'"request_too_large"' in got
    assert len(faulty.holds()) == before


@pytest.mark.parametrize("key", ["sk-wrong", ""], ids=["no key", "a key"])
async def test_f36_a_body_in_tiny_chunks_ties_nothing_up(faulty: Rig, key: str) -> None:
    """The refusal comes while much of the body is unread; the connection must not stay behind."""
    process = psutil.Process(faulty.server.pid)
    before = process.num_fds()
    refused = head(faulty, "Transfer-Encoding: chunked\r\n").replace(faulty.server.key.encode(), key.encode() or b"x")
    if not key:
        refused = head(faulty, "Transfer-Encoding: chunked\r\n")
    data = refused + chunked(*[b"  "] * 40_000)
    answers = await asyncio.gather(*(faulty.raw(data) for _ in range(3)))
    assert all(statuses(got) in ([[401]] if key else [[413], [408]]) for got in answers)
    await until(lambda: process.num_fds() <= before, "the connections are gone", 3.0)


FRAMINGS: dict[str, tuple[str, bytes, list[int]]] = {
    "CL and TE": (f"Content-Length: {len(BODY)}\r\nTransfer-Encoding: chunked\r\n", chunked(BODY), [400]),
    "TE and CL": (f"Transfer-Encoding: chunked\r\nContent-Length: {len(BODY)}\r\n", chunked(BODY), [400]),
    "two CL": (f"Content-Length: {len(BODY)}\r\nContent-Length: {len(BODY) + 1}\r\n", BODY, [400]),
    "negative CL": ("Content-Length: -1\r\n", BODY, [400]),
    "CL with a sign": (f"Content-Length: +{len(BODY)}\r\n", BODY, [400]),
    "CL in words": ("Content-Length: ten\r\n", BODY, [400]),
    "unknown TE": ("Transfer-Encoding: gzip, chunked\r\n", chunked(BODY), [400, 501]),
    "a bad chunk size": ("Transfer-Encoding: chunked\r\n", b"zz\r\n" + BODY, [400]),
    "a negative chunk size": ("Transfer-Encoding: chunked\r\n", b"-1\r\n" + BODY, [400]),
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_f37_two_framings_are_refused_and_closed(faulty: Rig, name: str) -> None:
    extra, body, expected = FRAMINGS[name]
    faulty.upstream.script = answer
    before = (len(faulty.seen), len(faulty.holds()))
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    got = await faulty.raw(head(faulty, extra) + body + smuggled)
    assert len(statuses(got)) == 1, got
    assert statuses(got)[0] in expected
    assert (len(faulty.seen), len(faulty.holds())) == before


async def test_f37_a_body_that_stops_short_is_no_request(faulty: Rig) -> None:
    before = (len(faulty.seen), len(faulty.holds()))
    reader, writer = await asyncio.open_connection("127.0.0.1", faulty.server.port)
    writer.write(faulty.http(BODY, length=len(BODY) + 1))
    writer.write_eof()
    got = await read_all(reader, 2.0)
    writer.close()
    assert statuses(got) in ([], [400])
    assert (len(faulty.seen), len(faulty.holds())) == before


async def one_each(faulty: Rig, before: int, requests: int) -> None:
    """``requests`` more holds, all settled by the upstream's count."""
    rows = (await faulty.settled())[before:]
    assert [(h["state"], h["usage_source"], h["s_input"]) for h in rows] == [("settled", "upstream", 7)] * requests


@pytest.mark.parametrize("stream", [True, False])
async def test_f38_a_chunked_body(faulty: Rig, stream: bool) -> None:
    faulty.upstream.script = answer
    before = len(faulty.holds())
    body = json.dumps(call(stream)).encode()
    data = head(faulty, "Transfer-Encoding: chunked\r\nConnection: close\r\n")
    got = await faulty.raw(data + chunked(*(body[i : i + 1] for i in range(len(body)))))
    assert statuses(got) == [200]
    assert b"fine" in got
    await one_each(faulty, before, 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_f38_pipelined_requests_are_answered_in_order(faulty: Rig, stream: bool) -> None:
    faulty.upstream.script = answer
    before = len(faulty.holds())
    data = faulty.http(json.dumps(call(stream)).encode()) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    data += faulty.http(json.dumps(call(not stream)).encode(), extra="Connection: close\r\n")
    got = await faulty.raw(data)
    assert statuses(got) == [200, 200, 200]
    kinds = re.findall(rb"content-type: ([a-z/-]+)", got)
    stream_kind, whole_kind = b"text/event-stream", b"application/json"
    assert kinds == [stream_kind if stream else whole_kind, whole_kind, whole_kind if stream else stream_kind]
    await one_each(faulty, before, 2)


async def test_f38_a_hundred_on_one_connection(faulty: Rig) -> None:
    faulty.upstream.script = answer
    before, connections = len(faulty.holds()), faulty.upstream.connections
    reader, writer = await asyncio.open_connection("127.0.0.1", faulty.server.port)
    for number in range(100):
        writer.write(faulty.http(json.dumps(call(number % 2 == 0)).encode()))
        end = b"data: [DONE]\n\n\r\n0\r\n\r\n" if number % 2 == 0 else b"}\r\n"
        got = await reader.readuntil(b"\r\n\r\n")
        assert statuses(got) == [200]
        if number % 2 == 0:
            await reader.readuntil(end)
        else:
            length = re.search(rb"content-length: (\d+)", got)
            assert length is not None
            await reader.readexactly(int(length[1]))
    writer.close()
    await one_each(faulty, before, 100)
    assert faulty.upstream.connections - connections <= 2  # pooled on the other side as well


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x"])
async def test_f39_a_compressed_body_is_415(faulty: Rig, coding: str) -> None:
    body = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY)}.get(coding, BODY)
    before = len(faulty.holds())
    reply = await faulty.post(body, headers={"Content-Encoding": coding})
    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")
    assert len(faulty.holds()) == before


def member(raw: bytes) -> bytes:
    return BODY[:-1] + b"," + raw + b"}"


BAD_JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "a word": b"hello",
    "null": b"null",
    "an array": b"[" + BODY + b"]",
    "a string": json.dumps(BODY.decode()).encode(),
    "cut": BODY[:-1],
    "two": BODY + BODY,
    "a comma too much": BODY[:-1] + b",}",
    "a comment": b"/* */" + BODY,
    "single quotes": BODY.replace(b'"', b"'"),
    "NaN": member(b'"temperature":NaN'),
    "Infinity": member(b'"temperature":Infinity'),
    "hexadecimal": member(b'"seed":0x10'),
    "a leading zero": member(b'"seed":01'),
    "a bad escape": member(rb'"user":"\x"'),
    "a short escape": member(rb'"user":"\u12"'),
    "a raw line break": member(b'"user":"a\nb"'),
    "a raw NUL": member(b'"user":"a\x00b"'),
    "bad UTF-8": member(b'"user":"\xff"'),
    "overlong UTF-8": member(b'"user":"\xc0\x80"'),
    "surrogates in UTF-8": member(b'"user":"\xed\xa0\x80"'),
    "400 digits": member(b'"seed":' + b"9" * 400),
    "400 digits below": member(b'"metadata":{"a":' + b"9" * 400 + b"}"),
    "1e999": member(b'"top_p":1e999'),
    "depth 10^4": member(b'"metadata":' + b'{"a":' * 8_000 + b"1" + b"}" * 8_000),
    "depth 10^4, open": b"[" * 60_000,
    "a key twice": member(b'"n":1,"n":128'),
    "a key twice, below": BODY.replace(b'"role"', b'"role": "user", "role"'),
    "a UTF-16 text": codecs.BOM_UTF16_LE + BODY.decode().encode("utf-16-le"),
    "a UTF-16 text without BOM": BODY.decode().encode("utf-16-be"),
    "a BOM": codecs.BOM_UTF8 + BODY,
}


@pytest.mark.parametrize("name", BAD_JSON)
async def test_f40_invalid_json_is_400(faulty: Rig, name: str) -> None:
    before = (len(faulty.seen), len(faulty.holds()))
    began = time.monotonic()
    reply = await faulty.post(BAD_JSON[name])
    assert time.monotonic() - began < 0.2  # promised: 20 ms
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] in ("invalid_json", "invalid_value", "invalid_type")
    assert (len(faulty.seen), len(faulty.holds())) == before


@pytest.mark.parametrize("text", [r"\u0000", r"\ud83d", r"\ude00\ud83d", r"\u202e\u2028"])
async def test_f40_odd_text_is_text(faulty: Rig, text: str) -> None:
    faulty.upstream.script = answer
    raw = BODY.replace(b"Say hello.", text.encode())
    reply: Any = await faulty.post(raw)
    assert reply.status in (200, 400)
    assert reply.status == 400 or faulty.seen[-1].body["messages"][0]["content"] == json.loads(f'"{text}"')
    await until(lambda: faulty.usage()["in_flight"] == 0, "nothing in flight")
