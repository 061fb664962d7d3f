"""The real transport: which connections are used again, and what becomes of faults before an answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from streamrouter.upstream.client import verdict
from tests.support.upstream import ScriptedUpstream, Seen
from tests.upstream.wired import BODY, CHUNKED, SIZED, Make, Recorder, drop, fails, plays, post, pushed

# -- connections ----------------------------------------------------------------------------------------------------


async def test_a_whole_body_leaves_its_connection_for_the_next(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = plays(CHUNKED, b"a\r\n0123456789\r\n", b"0\r\n\r\n")
    transport = make(upstream.url)
    for _ in range(3):
        assert (await pushed(transport)).ends == [None]
    assert await (await post(transport)).read(100) == (b"0123456789", True)
    assert (len(upstream.seen), upstream.connections) == (4, 1)


async def test_a_pause_at_the_very_end_does_not_stop_the_next_answer(upstream: ScriptedUpstream, make: Make) -> None:
    """Data and end in one read: the connection is back in the pool when the target asks for the pause."""
    upstream.script = plays(CHUNKED, b"a\r\n0123456789\r\n0\r\n\r\n")
    transport = make(upstream.url)
    exchange = await post(transport)
    recorder = Recorder(on_flush=exchange.pause)
    exchange.push(recorder)
    await recorder.over.wait()
    assert (await pushed(transport)).data == b"0123456789"
    assert upstream.connections == 1


async def test_an_exchange_that_is_over_has_no_hold_on_the_connection(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.script = plays(CHUNKED, b"a\r\n0123456789\r\n", b"0\r\n\r\n")
    transport = make(upstream.url)
    first, recorder = await post(transport), Recorder()
    first.push(recorder)
    await recorder.over.wait()
    second, next_recorder = await post(transport), Recorder()
    second.push(next_recorder)
    first.pause()
    first.close()
    async with asyncio.timeout(5):
        await next_recorder.over.wait()
    assert (next_recorder.data, next_recorder.ends) == (b"0123456789", [None])
    assert upstream.connections == 1


async def test_a_stale_connection_is_retried_once_on_a_fresh_one(upstream: ScriptedUpstream, make: Make) -> None:
    answer = plays(SIZED + b"0123456789")
    upstream.queue = [answer, drop, answer, answer]
    transport = make(upstream.url)
    await pushed(transport)
    assert (await pushed(transport)).data == b"0123456789"
    assert ([seen.raw for seen in upstream.seen], upstream.connections) == ([BODY] * 3, 2)
    assert upstream.seen[2].headers["x-request-id"] == "req_1"


async def test_a_stale_connection_is_retried_only_once(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.queue = [plays(SIZED + b"0123456789"), drop, drop, drop]
    transport = make(upstream.url)
    await pushed(transport)
    said = await fails(transport)
    assert (said.code, said.ambiguous, len(upstream.seen)) == ("upstream_disconnected", True, 3)


async def test_a_fresh_connection_that_is_dropped_is_not_retried(upstream: ScriptedUpstream, make: Make) -> None:
    upstream.queue = [drop, plays(SIZED + b"0123456789")]
    said = await fails(make(upstream.url))
    assert (said.code, said.ambiguous, said.fault, len(upstream.seen)) == ("upstream_disconnected", True, True, 1)


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_what_had_begun_to_answer_is_not_asked_again(
    upstream: ScriptedUpstream, make: Make, begun: bytes
) -> None:
    upstream.queue = [plays(SIZED + b"0123456789"), plays(begun, close=True), plays(SIZED + b"0123456789")]
    transport = make(upstream.url)
    await pushed(transport)
    said = await fails(transport)
    assert (said.code, said.ambiguous, len(upstream.seen)) == ("upstream_disconnected", True, 2)


async def test_what_an_idle_connection_says_is_nobodys_answer(upstream: ScriptedUpstream, make: Make) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    said = asyncio.Event()

    async def script(seen: Seen) -> None:
        await plays(SIZED + b"0123456789", late)(seen)
        said.set()

    upstream.queue = [script, plays(SIZED + b"abcdefghij")]
    transport = make(upstream.url)
    await pushed(transport)
    await said.wait()
    exchange = await post(transport)
    assert (exchange.status, await exchange.read(100)) == (200, (b"abcdefghij", True))
    assert upstream.connections == 2


# -- faults before an answer ----------------------------------------------------------------------------------------


async def test_a_refused_connection(make: Make) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but it does not listen
        said = await fails(make(f"http://127.0.0.1:{bound.getsockname()[1]}/v1"))
    assert (said.code, said.ambiguous, said.fault) == ("upstream_unreachable", False, True)


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("scheme", "says", "code", "ambiguous"),
    [
        ("http", b"SSH-2.0-OpenSSH_9.6\r\n", "upstream_invalid_response", True),
        ("http", b"\x00\x01\x02\x03\r\n\r\n", "upstream_invalid_response", True),
        ("http", b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n", "upstream_invalid_response", True),
        ("http", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", "upstream_invalid_response", True),
        ("http", b"", "upstream_disconnected", True),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "upstream_unreachable", False),
    ],
    ids=["ssh", "bytes", "header", "long-header", "nothing", "no-tls"],
)
async def test_what_does_not_speak_http(make: Make, scheme: str, says: bytes, code: str, ambiguous: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(says)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        said = await fails(make(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"))
    assert (said.code, said.ambiguous) == (code, ambiguous)


@pytest.mark.parametrize(
    ("error", "code", "ambiguous"),
    [
        (aiohttp.ConnectionTimeoutError("http://10.0.0.1/"), "upstream_timeout", False),
        (TimeoutError("http://10.0.0.1/"), "upstream_timeout", False),
        (aiohttp.InvalidUrlClientError("http://10.0.0.1/"), "upstream_unreachable", False),
        (aiohttp.ServerDisconnectedError("http://10.0.0.1/"), "upstream_disconnected", True),
        (aiohttp.ClientOSError(104, "http://10.0.0.1/"), "upstream_disconnected", True),
        (aiohttp.ClientPayloadError("http://10.0.0.1/"), "upstream_invalid_response", True),
        (ValueError("http://10.0.0.1/"), "upstream_invalid_response", True),
    ],
)
def test_verdicts(error: Exception, code: str, ambiguous: bool) -> None:
    said = verdict(error)
    assert (said.code, said.ambiguous, said.fault) == (code, ambiguous, True)
    assert "10.0.0.1" not in said.message
