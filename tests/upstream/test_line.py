"""The short way to an upstream against aiohttp's session: the same request leaves, the same answers are read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest

from streamrouter.upstream.line import Answered, Line
from tests.ledger.books import until
from tests.support.upstream import ScriptedUpstream, Seen
from tests.upstream.wired import OK, SIZED, plays

OWN = {"Content-Type": "application/json", "Accept-Encoding": "identity", "Authorization": "Bearer sk-1", "x-a": "é"}
EACH = {"x-request-id": "req_1", "traceparent": "00-0-0-00"}


@pytest.fixture
async def lines() -> AsyncIterator[list[Line]]:
    made: list[Line] = []
    yield made
    for line in made:
        await line.close()


def line_to(url: str, lines: list[Line], *, keepalive: bool = True) -> Line:
    lines.append(Line(url, OWN, 5.0, keepalive=keepalive))
    return lines[-1]


async def whole(answer: Answered) -> bytes:
    async with asyncio.timeout(5):
        return await answer.content.read()


def test_aiohttp_is_the_version_whose_insides_are_known() -> None:
    assert version("aiohttp").split(".")[:2] == ["3", "14"]


@pytest.mark.parametrize("keepalive", [True, False])
@pytest.mark.parametrize("body", [b"", b'{"model":"m"}', b"x" * 200_000], ids=["empty", "small", "large"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/ä b?x=1&y=%20#f"])
async def test_what_leaves_is_what_a_session_sends(
    upstream: ScriptedUpstream, lines: list[Line], body: bytes, path: str, keepalive: bool
) -> None:
    upstream.script = plays(SIZED + b"0123456789")
    url = upstream.url + path
    connector = aiohttp.TCPConnector(force_close=not keepalive)
    options: dict[str, Any] = {
        "connector": connector,
        "cookie_jar": aiohttp.DummyCookieJar(),
        "skip_auto_headers": ("User-Agent",),
    }
    async with aiohttp.ClientSession(**options) as session, session.post(url, data=body, headers=OWN | EACH) as answer:
        assert await answer.read() == b"0123456789"
    assert await whole(await line_to(url, lines, keepalive=keepalive).post(body, EACH)) == b"0123456789"
    theirs, ours = upstream.seen
    assert ours.head.split("\r\n")[0] == theirs.head.split("\r\n")[0]
    assert ours.headers == theirs.headers
    assert ours.raw == theirs.raw == body


async def test_interim_answers_are_passed_over(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    upstream.script = plays(b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", SIZED)
    answer = await line_to(upstream.url, lines).post(b"{}", EACH)
    assert (answer.status, answer.headers["CONTENT-LENGTH"]) == (200, "10")
    answer.close()


async def test_a_whole_answer_gives_its_connection_back_once(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    upstream.script = plays(SIZED + b"0123456789")
    line = line_to(upstream.url, lines)
    for _ in range(3):
        answer = await line.post(b"{}", EACH)
        await whole(answer)
        answer.close()
        answer.close()
    assert upstream.connections == 1


async def test_who_still_reads_is_told_of_a_close(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    upstream.script = plays(SIZED)
    answer = await line_to(upstream.url, lines).post(b"{}", EACH)
    reading = asyncio.ensure_future(answer.content.readany())
    await asyncio.sleep(0)
    answer.close()
    with pytest.raises(aiohttp.ClientConnectionError, match="closed"):
        await reading


async def test_a_cancelled_request_hangs_up(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    gone = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.gone()
        gone.set()

    upstream.script = script
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await line_to(upstream.url, lines).post(b"{}", EACH)
    async with asyncio.timeout(5):
        await gone.wait()


async def test_an_answer_that_was_cut_short_may_be_forgotten(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    upstream.script = plays(OK + b"Content-Length: 99\r\n\r\n", close=True)
    line = line_to(upstream.url, lines)
    answer = await line.post(b"{}", EACH)
    connection = answer._connection
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.content.readany()
    assert connection is not None and connection.closed
    del answer
    gc.collect()  # warnings are errors: of an unclosed connection there is none
    assert connection.protocol is None


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/", "127.0.0.1:80/v1", "http://[::1"])
async def test_what_is_no_address(lines: list[Line], url: str) -> None:
    with pytest.raises(ValueError):  # aiohttp.InvalidURL is one
        await line_to(url, lines).post(b"{}", EACH)


async def test_a_header_cannot_bring_another(lines: list[Line], upstream: ScriptedUpstream) -> None:
    lines.append(Line(upstream.url, {"x-a": "1\r\nx-b: 2"}, 5.0, keepalive=True))
    with pytest.raises(ValueError):
        await lines[-1].post(b"{}", EACH)


@asynccontextmanager
async def unread(answer: bytes) -> AsyncIterator[tuple[str, list[asyncio.StreamReader]]]:
    """An upstream that reads next to nothing: where it is, and its connections."""
    readers: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        readers.append(reader)
        writers.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", readers
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


UNSENT = b"x" * 20_000_000  # more than the kernel takes


async def test_an_answer_before_the_body_has_left_ends_the_connection(lines: list[Line]) -> None:
    async with unread(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno") as (url, readers):
        line = line_to(url, lines)
        for _ in range(2):
            assert await whole(await line.post(UNSENT, EACH)) == b"no"
        assert len(readers) == 2


@pytest.mark.parametrize("answer", [b"", OK + b"\r\n"], ids=["before", "after"])
async def test_who_hangs_up_waits_for_no_upstream_that_does_not_read(lines: list[Line], answer: bytes) -> None:
    async with unread(answer) as (url, readers):
        asking = asyncio.ensure_future(line_to(url, lines).post(UNSENT, EACH))
        await until(lambda: readers)
        if answer:
            (await asking).close()
        else:
            asking.cancel()
            await asyncio.wait([asking])
        read = 0
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                while data := await readers[0].read(1_000_000):
                    read += len(data)
        assert read < len(UNSENT)  # what had not left was dropped


async def test_a_requests_own_header_stands_in_for_the_lines(upstream: ScriptedUpstream, lines: list[Line]) -> None:
    upstream.script = plays(SIZED + b"0123456789")
    lines.append(Line(upstream.url, {"x-request-id": "fixed", "x-a": "b"}, 5.0, keepalive=True))
    for headers in (EACH, {"x-c": "d"}):
        await whole(await lines[-1].post(b"{}", headers))
    first, second = upstream.seen
    assert (first.head.count("x-request-id: "), first.headers["x-request-id"]) == (1, "req_1")
    assert (second.headers["x-request-id"], second.headers["x-a"]) == ("fixed", "b")
