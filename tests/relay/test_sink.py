"""The sink over plain ASGI: order, back-pressure, the client's leaving, the end; and which sink a request gets."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Scope

from streamrouter.relay.sink import EXTENSION, SendSink, sink_of
from tests.ledger.books import until
from tests.support.serving import Told


class Peer:
    """An ASGI server's side: ``send`` waits while ``taking`` is clear, ``receive`` until the client leaves."""

    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.left = asyncio.Event()
        self.requests: list[Message] = []

    async def receive(self) -> Message:
        if self.requests:
            return self.requests.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.taking.wait()
        self.got.append((message["type"].rsplit(".", 1)[1], message.get("body", message.get("status"))))
        if message["type"] == "http.response.body":
            self.got.append(("more", message["more_body"]))


async def test_what_is_written_is_sent_in_order_and_nothing_after_the_end() -> None:
    peer = Peer()
    sink = SendSink(peer.receive, peer.send)
    sink.start(200, [(b"a", b"b")])
    sink.write(b"one")
    sink.write(b"two")
    sink.end(b"last")
    sink.write(b"late")
    sink.end(b"later")
    await sink.close()
    more = ("more", True)
    assert peer.got == [
        ("start", 200), ("body", b"one"), more, ("body", b"two"), more, ("body", b"last"), ("more", False)
    ]  # fmt: skip


async def test_a_client_that_does_not_read_blocks_and_is_writable_again() -> None:
    peer, told = Peer(), Told()
    sink = SendSink(peer.receive, peer.send)
    sink.reader = told
    peer.taking.clear()
    sink.start(200, [])
    for _ in range(64):
        sink.write(b"x" * 1024)
    await asyncio.sleep(0)
    assert told.calls == []
    sink.write(b"x")
    sink.write(b"x")
    assert told.calls == ["blocked"]
    peer.taking.set()
    await until(lambda: len(told.calls) > 1)
    assert told.calls == ["blocked", "writable"]
    sink.end(b"")
    await sink.close()


async def test_a_client_that_reads_is_never_blocked_however_long_the_stream() -> None:
    peer, told = Peer(), Told()
    sink = SendSink(peer.receive, peer.send)
    sink.reader = told
    sink.start(200, [])
    for _ in range(20):
        sink.write(b"x" * 16 * 1024)
        await asyncio.sleep(0)
    sink.end(b"")
    await sink.close()
    assert told.calls == []


async def test_the_reader_is_told_that_the_client_left() -> None:
    peer, told = Peer(), Told()
    peer.requests = [{"type": "http.request", "body": b"", "more_body": False}]
    sink = SendSink(peer.receive, peer.send)
    sink.reader = told
    await asyncio.sleep(0.01)
    assert told.calls == []
    peer.left.set()
    await until(lambda: told.calls)
    assert told.calls == ["gone"]
    await sink.close()


async def test_closing_without_an_end_sends_none() -> None:
    """The server then cuts the connection: a truncated stream must not look whole."""
    peer = Peer()
    peer.taking.clear()
    sink = SendSink(peer.receive, peer.send)
    sink.start(200, [])
    await asyncio.sleep(0)
    await sink.close()
    assert peer.got == []


async def test_closing_before_anything_was_written_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    sink = SendSink(Peer().receive, Peer().send)
    await sink.close()
    assert asyncio.all_tasks() == before


async def test_a_send_that_fails_does_not_hang_the_end() -> None:
    async def send(message: Message) -> None:
        raise OSError

    sink = SendSink(Peer().receive, send)
    sink.start(200, [])
    sink.end(b"x")
    await sink.close()


async def test_the_servers_own_sink_is_taken_where_it_is_offered() -> None:
    peer, own = Peer(), object()
    scope: Scope = {"type": "http", "extensions": {EXTENSION: lambda: own}}
    assert sink_of(scope, peer.receive, peer.send) is own
    for other in ({"type": "http"}, {"type": "http", "extensions": {}}):
        sink = sink_of(other, peer.receive, peer.send)
        assert isinstance(sink, SendSink)
        await sink.close()
