"""HTTP/2 over real sockets and TLS: streams share a connection and nothing else."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamrouter.relay.sink import SendSink, Sink
from tests.support.encrypted import certificate, http2
from tests.support.rig import call, content, rig, until
from tests.support.serving import Application, serving
from tests.support.upstream import DONE, Seen, delta, streamed


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return certificate(tmp_path_factory.mktemp("http2"))


def tls(own: tuple[str, str]) -> dict[str, Any]:
    return {"tls_cert": own[0], "tls_key": own[1], "http2": True}


async def test_several_streams_on_one_connection_and_none_needs_the_others(own: tuple[str, str]) -> None:
    go: dict[str, asyncio.Event] = {}

    async def play(sink: Sink) -> None:
        name = app.scopes[-1]["path"]
        go[name] = asyncio.Event()
        sink.start(200, [(b"connection", b"keep-alive"), (b"transfer-encoding", b"chunked"), (b"x-a", b"b")])
        sink.write(name.encode())
        await go[name].wait()
        sink.end(b" end")

    app = Application(play)
    async with serving(app, **tls(own)) as running, http2(running.port, own[0]) as client:
        streams = {path: client.ask("GET", path) for path in ("/a", "/b", "/c")}
        await client.until(lambda: all(client.streams[s].body for s in streams.values()))
        for path in ("/c", "/a", "/b"):
            go[path].set()
            got = client.streams[streams[path]]
            await client.until(partial(getattr, got, "ended"))
            assert (got.headers[":status"], got.body) == ("200", path.encode() + b" end")
            assert got.headers["x-a"] == "b"
            assert not {"connection", "transfer-encoding"} & got.headers.keys()
    assert all(isinstance(sink, SendSink) for sink in app.sinks)
    assert {(scope["http_version"], scope["scheme"]) for scope in app.scopes} == {("2", "https")}


async def test_a_client_that_leaves_one_stream_is_told_there(own: tuple[str, str]) -> None:
    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await until(lambda: app.told.calls, "one of them left")
        sink.end(b"b")

    app = Application(play)
    async with serving(app, **tls(own)) as running, http2(running.port, own[0]) as client:
        left, stays = client.ask("GET", "/left"), client.ask("GET", "/stays")
        await client.until(lambda: client.streams[left].body and client.streams[stays].body)
        client.reset(left)
        await client.until(lambda: client.streams[stays].ended)
        assert app.told.calls == ["gone"]
        assert client.streams[stays].body == b"ab"
        assert not client.closed


async def test_a_stream_that_is_granted_nothing_is_blocked_then_cut_and_its_neighbour_lives(
    own: tuple[str, str],
) -> None:
    async def play(sink: Sink) -> None:
        sink.start(200, [])
        if app.scopes[-1]["path"] == "/big":
            while not app.told.calls:
                sink.write(b"x" * 16384)
                await asyncio.sleep(0)
            await until(lambda: "gone" in app.told.calls, "the client is gone")
        sink.end(b"y")

    app = Application(play)
    async with (
        serving(app, **tls(own), stalled_client_s=0.3) as running,
        http2(running.port, own[0]) as client,
    ):
        client.taking = False
        big = client.ask("GET", "/big")
        await client.until(lambda: client.streams[big].reset)
        assert app.told.calls[:1] == ["blocked"] and "gone" in app.told.calls
        client.h2.increment_flow_control_window(1_000_000)
        small = client.ask("GET", "/small")
        await client.until(lambda: client.streams[small].ended)
        assert client.streams[small].body == b"y"


async def test_a_slow_reader_gets_everything(own: tuple[str, str]) -> None:
    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.end(b"x" * 1_000_000)

    async with serving(Application(play), **tls(own)) as running, http2(running.port, own[0]) as client:
        stream = client.ask("GET", "/")
        await client.until(lambda: client.streams[stream].ended)
        assert len(client.streams[stream].body) == 1_000_000


async def test_a_body_that_nobody_takes_leaves_the_neighbours_alone(own: tuple[str, str]) -> None:
    async with serving(Application(), **tls(own)) as running, http2(running.port, own[0]) as client:
        answered = client.ask("GET", "/", b"x" * 1000, end=False)
        await client.until(lambda: client.streams[answered].ended)
        for _ in range(20):
            client.h2.send_data(answered, b"x" * 1000)
            client.flush()
        echoed = client.ask("POST", "/", b"hi")
        await client.until(lambda: client.streams[echoed].ended)
        assert client.streams[echoed].body == b"hi"


async def test_a_tunnel_is_refused(own: tuple[str, str]) -> None:
    app = Application()
    async with serving(app, **tls(own)) as running, http2(running.port, own[0]) as client:
        tunnel, plain = client.ask("CONNECT", "/"), client.ask("GET", "/")
        await client.until(lambda: client.streams[plain].ended)
        assert client.streams[tunnel].reset
    assert [scope["method"] for scope in app.scopes] == ["GET"]


async def test_draining_lets_streams_end_and_closes_the_connection(own: tuple[str, str]) -> None:
    go = asyncio.Event()

    async def play(sink: Sink) -> None:
        sink.start(200, [])
        sink.write(b"a")
        await go.wait()
        sink.end(b"b")

    async with serving(Application(play), **tls(own)) as running, http2(running.port, own[0]) as client:
        stream = client.ask("GET", "/")
        await client.until(lambda: client.streams[stream].body)
        await running.server.close_listeners()
        assert not await running.server.drained(0.05)
        go.set()
        await client.until(lambda: client.streams[stream].ended and client.closed)
        assert client.streams[stream].body == b"ab"
        assert await running.server.drained(2)


async def test_a_reset_closes_the_upstream_of_that_stream_only(tmp_path: Path, own: tuple[str, str]) -> None:
    gone, go = asyncio.Event(), asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("token"))
        if seen.body["metadata"]["kind"] == "left":
            assert await seen.gone()
            gone.set()
        else:
            await go.wait()
            await seen.chunk(delta(None, finish="stop") + DONE)
            await seen.end()

    server = f'tls_cert = "{own[0]}"\ntls_key = "{own[1]}"\nhttp2 = true'
    async with rig(tmp_path, server=server) as rigged:
        rigged.upstream.script = streamed(["warm"])
        headers = {"authorization": f"Bearer {rigged.server.key}", "content-type": "application/json"}
        async with http2(rigged.server.port, own[0]) as client:
            path, kinds = "/v1/chat/completions", ("left", "stays", "stays")
            rigged.upstream.script = script
            left, *stay = [
                client.ask("POST", path, json.dumps(call(metadata={"kind": kind})).encode(), headers=headers)
                for kind in kinds
            ]
            await client.until(lambda: all(b"token" in client.streams[s].body for s in (left, *stay)))
            client.reset(left)
            await asyncio.wait_for(gone.wait(), 5)
            go.set()
            await client.until(lambda: all(client.streams[s].ended for s in stay))
            for stream in stay:
                assert content(client.streams[stream].body.decode()) == "token"
                assert client.streams[stream].body.endswith(b"data: [DONE]\n\n")
                assert "connection" not in client.streams[stream].headers
            refused = client.ask("POST", path, b"{}", headers={"content-type": "application/json"})
            await client.until(lambda: client.streams[refused].ended)
            assert client.streams[refused].headers[":status"] == "401"
        await until(lambda: rigged.usage()["in_flight"] == 0, "nothing in flight")
        reasons = sorted(hold["end_reason"] for hold in rigged.holds())
        assert reasons == ["client_left", "finished", "finished"]
