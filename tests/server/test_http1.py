"""The server over real sockets, in this process: framing, back-pressure, leaving, bad requests; on both of its ways.

``GET`` is answered by the plain way, ``HANDED_OVER`` asks the same and is left to hypercorn and h11.
"""

from __future__ import annotations

import asyncio
import json

import h11
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.relay.sink import EXTENSION, SendSink, Sink
from tests.ledger.books import until
from tests.support.serving import GET, HEADERS, Application, Play, Told, serving

HANDED_OVER = GET.replace(b"Host: a", b"Host: a ")
both_ways = pytest.mark.parametrize("get", [GET, HANDED_OVER], ids=["plain", "handed over"])


@both_ways
@settings(deadline=None, max_examples=60)
@given(
    pieces=st.lists(st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda b: b * 3000), max_size=8),
    last=st.binary(max_size=40),
    pauses=st.booleans(),
)
def test_h11_reads_the_chunks_that_were_written(get: bytes, pieces: list[bytes], last: bytes, pauses: bool) -> None:
    async def play(sink: Sink) -> None:
        sink.start(200, HEADERS)
        for piece in pieces:
            sink.write(piece)
            if pauses:
                await asyncio.sleep(0)
        sink.end(last)
        sink.write(b"late")
        sink.end(b"later")

    async def exchange() -> None:
        async with serving(Application(play)) as running:
            client = await running.connect(get + get)
            for _ in range(2):
                head, chunks = await client.answer()
                assert head.status_code == 200
                assert set(HEADERS) <= set(head.headers)
                assert b"".join(chunks) == b"".join([*pieces, last])

    uvloop.run(exchange())


@both_ways
async def test_the_head_waits_for_the_first_chunk_and_each_write_is_one_chunk(get: bytes) -> None:
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, HEADERS)
        await go.wait()
        sink.write(b"a")
        sink.write(b"")
        sink.end(b"bc")

    async with serving(Application(play)) as running:
        client = await running.connect(get)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reader.read(1)
        go.set()
        head, _, body = (await client.reader.readuntil(b"0\r\n\r\n")).partition(b"\r\n\r\n")
        assert body == b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
        assert b"transfer-encoding: chunked" in head.lower()
        assert b"\r\ndate: " in head.lower()
        assert b"server" not in head.lower()


@both_ways
async def test_a_hundred_requests_on_one_connection(get: bytes) -> None:
    app = Application()
    async with serving(app) as running:
        client = await running.connect()
        for number in range(50):
            client.send(get)
            assert b"".join((await client.answer())[1]) == b"hello world"
            body = b"%d" % number
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            assert b"".join((await client.answer("POST"))[1]) == body
    assert len(app.scopes) == 100
    assert not any(isinstance(sink, SendSink) for sink in app.sinks)


@both_ways
async def test_pipelined_requests_are_answered_one_after_the_other(get: bytes) -> None:
    app = Application()
    async with serving(app) as running:
        client = await running.connect(get + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" + get)
        bodies = [b"".join((await client.answer())[1]) for _ in range(3)]
    assert bodies == [b"hello world", b"hi", b"hello world"]


async def test_a_chunked_request_and_one_that_waits_for_100() -> None:
    async with serving(Application()) as running:
        client = await running.connect(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"2\r\nhi\r\n0\r\n\r\n")
        assert (await client.answer("POST"))[1] == [b"hi"]
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        client.send(b"ho")
        assert (await client.answer("POST"))[1] == [b"ho"]


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [(b"GET / HTTP/1.0\r\n\r\n", b"hello world"), (b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"")],
)
async def test_where_a_body_is_not_chunked_no_sink_is_offered(request_bytes: bytes, body: bytes) -> None:
    app = Application()
    async with serving(app) as running:
        head, _, got = (await (await running.connect(request_bytes)).rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert got == body
    assert EXTENSION not in app.scopes[0]["extensions"]


@both_ways
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("started", [True, False])
async def test_a_client_that_leaves_is_told_at_once(get: bytes, reset: bool, started: bool) -> None:
    gone = asyncio.Event()

    async def play(sink: Sink) -> None:
        if started:
            sink.start(200, [])
            sink.write(b"a")
        await gone.wait()
        sink.write(b"vanishes")
        sink.end(b"too")

    app = Application(play)
    async with serving(app) as running:
        client = await running.connect(get)
        await until(lambda: app.sinks)
        if started:
            await client.reader.readuntil(b"a\r\n")
        if reset:
            client.writer.transport.abort()
        else:
            client.writer.close()
        await until(lambda: "gone" in app.told.calls)
        gone.set()
        assert await running.server.drained(5)


@both_ways
async def test_a_client_that_left_before_anybody_listened_is_told_then(get: bytes) -> None:
    go = asyncio.Event()
    told = Told()

    async def play(sink: Sink) -> None:
        await go.wait()
        sink.reader = told
        sink.end(b"")

    app = Application(play)
    async with serving(app) as running:
        client = await running.connect(get)
        await until(lambda: app.sinks)
        client.writer.close()
        await until(lambda: "gone" in app.told.calls)
        go.set()
        await until(lambda: "gone" in told.calls)


@both_ways
async def test_a_client_that_does_not_read_is_told_and_when_it_reads_again(get: bytes) -> None:
    done = asyncio.Event()
    written = 0

    async def play(sink: Sink) -> None:
        nonlocal written
        sink.start(200, [])
        while "blocked" not in app.told.calls:
            sink.write(b"x" * 16384)
            written += 16384
            await asyncio.sleep(0)
        await done.wait()
        sink.end(b"")

    app = Application(play)
    async with serving(app) as running:
        client = await running.connect(get)
        client.stop_reading()
        await until(lambda: app.told.calls)
        assert app.told.calls == ["blocked"]
        client.read_again()
        reading = asyncio.create_task(client.answer())
        await until(lambda: len(app.told.calls) > 1)
        assert app.told.calls[:2] == ["blocked", "writable"]
        done.set()
        assert sum(map(len, (await reading)[1])) == written


@both_ways
async def test_a_stream_begins_blocked_while_the_one_before_it_is_not_taken(get: bytes) -> None:
    """Else a client that pipelines and does not read could make us hold stream after stream."""
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.end(b"x" * 4_000_000)

    async def second(sink: Sink) -> None:
        sink.start(200, [])
        go.set()
        sink.end(b"y")

    app = Application(play)
    async with serving(app) as running:
        client = await running.connect(get)
        await until(lambda: "blocked" in app.told.calls)
        app.play, app.told = second, Told()
        client.send(get)
        await go.wait()
        assert "blocked" in app.told.calls
        await client.answer()
        assert (await client.answer())[1] == [b"y"]


async def fails_after(sink: Sink) -> None:
    sink.start(200, HEADERS)
    sink.write(b"a")
    raise ZeroDivisionError


async def fails_between(sink: Sink) -> None:
    sink.start(200, HEADERS)
    raise ZeroDivisionError


@both_ways
@pytest.mark.parametrize("play", [fails_after, fails_between])
async def test_a_stream_without_its_end_is_cut_and_does_not_look_whole(get: bytes, play: Play) -> None:
    async with serving(Application(play)) as running:
        client = await running.connect(get)
        with pytest.raises(h11.RemoteProtocolError):
            await client.answer()


BAD = {
    "rubbish": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    "no version": (b"GET /\r\n\r\n", b"400"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    "a space in a header's name": (b"GET / HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n", b"400"),
    "a length that is no number": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"400"),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", b"400"),
    "an unknown coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    "a head without end": (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 40_000, b"431"),
}


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=BAD)
async def test_a_bad_request_is_refused_and_the_connection_closed(data: bytes, status: bytes) -> None:
    app = Application()
    async with serving(app) as running:
        answer = await (await running.connect(data)).rest()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert app.scopes == []


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
}


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
async def test_a_connection_is_never_upgraded(headers: bytes) -> None:
    async with serving(Application()) as running:
        client = await running.connect(b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
        head, chunks = await client.answer()
    assert (head.status_code, b"".join(chunks)) == (200, b"hello world")


async def test_http2_without_asking_is_not_spoken() -> None:
    app = Application()
    async with serving(app) as running:
        answer = await (
            await running.connect(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        ).rest()
    assert answer.startswith(b"HTTP/1.1 ")
    assert all(scope["method"] == "PRI" for scope in app.scopes)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\nHo", GET, HANDED_OVER])
async def test_an_idle_connection_is_closed(data: bytes) -> None:
    async with serving(Application(), idle_timeout_s=0.1) as running:
        answer = await (await running.connect(data)).rest()
    assert answer.endswith(b"0\r\n\r\n") == (data in (GET, HANDED_OVER))


@both_ways
async def test_the_scope_tells_who_asks_and_holds_no_state_of_others(get: bytes) -> None:
    app = Application()
    async with serving(app) as running:
        client = await running.connect(get)
        await client.answer()
        own = client.writer.get_extra_info("sockname")
    scope = app.scopes[0]
    assert tuple(scope["client"]) == own[:2]
    assert json.dumps(scope["state"]) == "{}"
