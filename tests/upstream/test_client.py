"""The real transport against a server that plays any bytes: what leaves and what comes back."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from streamrouter.errors import Upstreamed
from tests.support.upstream import Script, ScriptedUpstream, Seen
from tests.upstream.wired import BODY, CHUNKED, KEY, OK, SIZED, Make, Recorder, plays, post, pushed

# -- what leaves ----------------------------------------------------------------------------------------------------


async def test_what_is_sent(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = plays(OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
    transport = make(upstream.url + "/", headers={"x-title": "ours"})
    for _ in range(2):
        (await post(transport)).close()
    first, second = upstream.seen
    assert first.head.split("\r\n")[0] == "POST /v1/chat/completions HTTP/1.1"
    assert first.raw == second.raw == BODY
    assert first.headers == second.headers  # no cookie comes back
    assert first.headers == {
        "host": upstream.url.split("/")[2],
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "identity",
        "authorization": f"Bearer {KEY}",
        "x-title": "ours",
        "x-request-id": "req_1",
        "content-length": str(len(BODY)),
    }


@pytest.mark.parametrize(
    ("config", "sent"), [({"api_key": ""}, None), ({"headers": {"Authorization": "Basic eA=="}}, "Basic eA==")]
)
async def test_a_key_is_sent_only_if_there_is_one(
    upstream: ScriptedUpstream, make: Make, config: dict[str, object], sent: str | None
) -> None:
    upstream.script = plays(SIZED + b"0123456789")
    await post(make(upstream.url, **config))
    assert upstream.seen[0].headers.get("authorization") == sent


async def test_proxies_of_the_environment_are_ignored(
    upstream: ScriptedUpstream, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    upstream.script = plays(SIZED + b"0123456789")
    assert (await pushed(make(upstream.url))).data == b"0123456789"


# -- bodies that are pushed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "whole"),
    [
        (plays(CHUNKED, b"5\r\n01234\r\n", b"5\r\n56789\r\n", b"0\r\n\r\n"), True),
        (plays(CHUNKED, b"5\r\n01", b"234", b"\r\n5\r\n56789\r\n0\r\n\r\n"), True),
        (plays(SIZED, b"01234", b"56789"), True),
        (plays(SIZED + b"01234", b"56789"), True),
        (plays(b"HTTP/1.0 200 OK\r\n\r\n", b"01234", b"56789", close=True), True),
        # with the headers
        (plays(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n"), True),
        (plays(CHUNKED + b"a\r\n0123456789\r\n", b"0\r\n\r\n"), True),
        (plays(SIZED + b"0123456789"), True),
        (plays(b"HTTP/1.0 200 OK\r\n\r\n0123456789", close=True), True),
        # cut short
        (plays(CHUNKED, b"5\r\n01234\r\n", b"a\r\n56789", close=True), False),
        (plays(CHUNKED, b"a\r\n0123456789\r\n", close=True), False),
        (plays(SIZED[:-6] + b"11\r\n\r\n", b"0123456789", close=True), False),
        (plays(CHUNKED, b"a\r\n0123456789\r\n", b"zz\r\n"), False),
    ],
    ids=[
        *("chunked", "cut-chunks", "sized", "sized-in-part", "http10"),
        *("whole-chunked", "chunk", "whole-sized", "whole-http10"),
        *("mid-chunk", "between-chunks", "short", "no-chunk"),
    ],
)
async def test_framings(upstream: ScriptedUpstream, make: Make, script: Script, whole: bool) -> None:
    upstream.script = script
    recorder = await pushed(make(upstream.url))
    assert recorder.data == b"0123456789"
    assert recorder.flushes >= 1
    (fault,) = recorder.ends
    assert (fault is None) is whole
    if fault is not None:
        assert (fault.code, fault.ambiguous) == ("upstream_disconnected", True)
        assert "127.0.0.1" not in fault.message


@pytest.mark.parametrize("head", [OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_an_empty_body(upstream: ScriptedUpstream, make: Make, head: bytes) -> None:
    upstream.script = plays(head)
    recorder = await pushed(make(upstream.url))
    assert (recorder.data, recorder.ends) == (b"", [None])


async def test_a_reset_in_the_middle(upstream: ScriptedUpstream, make: Make) -> None:
    read = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.send(b"ff\r\nhalf")
        await read.wait()
        seen.reset()

    upstream.script = script
    recorder = Recorder()
    (await post(make(upstream.url))).push(recorder)
    await recorder.until(4)
    read.set()
    await recorder.over.wait()
    (fault,) = recorder.ends
    assert recorder.data == b"half"
    assert fault is not None
    assert (fault.code, fault.ambiguous) == ("upstream_disconnected", True)


async def test_a_body_that_was_cut_short_before_it_is_pushed(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = plays(CHUNKED + b"a\r\n01234", close=True)
    exchange, recorder = await post(make(upstream.url)), Recorder()
    await asyncio.sleep(0.05)
    exchange.push(recorder)
    (fault,) = recorder.ends
    assert fault is not None
    assert fault.code == "upstream_disconnected"


async def test_what_one_read_brings_is_one_flush(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = plays(CHUNKED, b"".join(b"1\r\n%d\r\n" % n for n in range(10)), b"0\r\n\r\n")
    recorder = await pushed(make(upstream.url))
    assert (recorder.data, recorder.flushes) == (b"0123456789", 2)  # and one at the end


async def test_much_that_came_before_it_is_pushed(upstream: ScriptedUpstream, make: Make) -> None:
    """aiohttp itself pauses a connection whose reader is full."""
    big = b"x" * 3_000_000
    upstream.script = plays(OK + b"Content-Length: %d\r\n\r\n" % len(big) + big)
    exchange, recorder = await post(make(upstream.url)), Recorder()
    await asyncio.sleep(0.05)
    exchange.push(recorder)
    await recorder.until(len(big))
    await recorder.over.wait()
    assert recorder.ends == [None]


# -- pause, resume, close -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrived", [False, True])
async def test_a_pause_in_a_flush_stops_the_reading(upstream: ScriptedUpstream, make: Make, arrived: bool) -> None:
    first = b"5\r\n01234\r\n"
    upstream.script = plays(
        CHUNKED + first if arrived else CHUNKED, b"" if arrived else first, b"5\r\n56789\r\n0\r\n\r\n"
    )
    exchange = await post(make(upstream.url))
    recorder = Recorder(on_flush=exchange.pause)
    exchange.push(recorder)
    await recorder.until(5)
    await asyncio.sleep(0.05)
    assert (recorder.data, recorder.ends) == (b"01234", [])
    recorder.on_flush = None
    exchange.resume()
    await recorder.over.wait()
    assert (recorder.data, recorder.ends) == (b"0123456789", [None])


async def test_close_hangs_up_and_nothing_more_is_heard(upstream: ScriptedUpstream, make: Make) -> None:
    gone = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(b"data: 1\n\n")
        if await seen.gone():
            gone.set()

    upstream.script = script
    exchange, recorder = await post(make(upstream.url)), Recorder()
    exchange.push(recorder)
    await recorder.until(1)
    exchange.close()
    async with asyncio.timeout(2):
        await gone.wait()
    await asyncio.sleep(0)
    assert recorder.ends == []
    exchange.pause()
    exchange.resume()
    exchange.close()


async def test_close_before_anything_was_read_hangs_up(upstream: ScriptedUpstream, make: Make) -> None:
    gone = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.send(b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n")
        if await seen.gone():
            gone.set()

    upstream.script = script
    exchange = await post(make(upstream.url))
    assert exchange.status == 500
    exchange.close()
    async with asyncio.timeout(2):
        await gone.wait()


# -- bodies that are read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "expected"), [(11, (b"0123456789", True)), (10, (b"0123456789", True)), (9, (b"012345678", False))]
)
async def test_read(upstream: ScriptedUpstream, make: Make, most: int, expected: tuple[bytes, bool]) -> None:
    upstream.script = plays(SIZED, b"01234", b"56789")
    exchange = await post(make(upstream.url))
    assert await exchange.read(most) == expected
    exchange.close()


@pytest.mark.parametrize(
    "script", [plays(SIZED, b"01234", close=True), plays(CHUNKED, b"a\r\n01234", close=True), plays(CHUNKED, b"zz\r\n")]
)
async def test_a_read_that_is_cut_short(upstream: ScriptedUpstream, make: Make, script: Script) -> None:
    upstream.script = script
    exchange = await post(make(upstream.url))
    with pytest.raises(Upstreamed) as caught:
        await exchange.read(1000)
    assert (caught.value.code, caught.value.ambiguous) == ("upstream_disconnected", True)


async def test_gzip_is_not_unpacked(upstream: ScriptedUpstream, make: Make) -> None:
    packed = gzip.compress(b"0" * 1_000_000)
    upstream.script = plays(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    exchange = await post(make(upstream.url))
    assert exchange.headers.get("content-encoding") == "gzip"
    assert await exchange.read(1 << 20) == (packed, True)
    assert (await pushed(make(upstream.url))).data == packed


async def test_a_redirect_is_not_followed(upstream: ScriptedUpstream, make: Make) -> None:
    async with ScriptedUpstream(plays(SIZED + b"0123456789")) as elsewhere:
        target = elsewhere.url.encode()
        upstream.script = plays(b"HTTP/1.1 307 Moved\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n")
        exchange = await post(make(upstream.url))
        assert (exchange.status, elsewhere.connections) == (307, 0)
