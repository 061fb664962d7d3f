"""The stream's response: its headers, its sink, and that the sink is closed whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from sse_starlette import EventSourceResponse
from starlette.types import Message, Scope

from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import EXTENSION, Sink
from tests.relay.dialogue import Recorder

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}


class Sent:
    """An ASGI server that takes everything."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError


async def nothing(sink: Sink) -> None:
    """A run that is over at once."""


async def test_the_headers_of_a_stream() -> None:
    async def run(sink: Sink) -> None:
        response.start(sink, [(b"x-request-id", b"req_1")])
        sink.end(b"data: [DONE]\n\n")

    response, sent = RelayResponse(run), Sent()
    before = response.started
    await response(SCOPE, sent.receive, sent.send)
    assert (before, response.started) == (False, True)
    assert isinstance(response, EventSourceResponse)
    start, body = sent.messages
    headers = dict(start["headers"])
    assert start["status"] == 200
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"x-request-id"] == b"req_1"
    assert b"content-length" not in headers
    assert len(headers) == len(start["headers"])
    assert (body["body"], body["more_body"]) == (b"data: [DONE]\n\n", False)


async def test_the_headers_are_the_base_classs_own_and_each_responses_own() -> None:
    first, second = RelayResponse(nothing), RelayResponse(nothing)
    first.raw_headers.append((b"a", b"b"))
    assert second.raw_headers == EventSourceResponse(second.body_iterator, ping=0).raw_headers
    assert second.headers["content-type"].startswith("text/event-stream")


async def test_a_run_that_writes_nothing_sends_nothing() -> None:
    sent = Sent()
    await RelayResponse(nothing)(SCOPE, sent.receive, sent.send)
    assert sent.messages == []


async def test_the_sink_is_closed_when_the_run_fails() -> None:
    class Closing(Recorder):
        closed = False

        async def close(self) -> None:
            self.closed = True

    async def run(sink: Sink) -> None:
        raise ZeroDivisionError

    sink, sent = Closing([]), Sent()
    with pytest.raises(ZeroDivisionError):
        await RelayResponse(run)({**SCOPE, "extensions": {EXTENSION: lambda: sink}}, sent.receive, sent.send)
    assert sink.closed


async def test_the_content_of_the_base_class_is_empty() -> None:
    assert [piece async for piece in RelayResponse(nothing).body_iterator] == []
