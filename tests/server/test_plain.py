"""Plain requests and those handed over to hypercorn: the same to the application, however their bytes come."""

from __future__ import annotations

import asyncio

import h11
import pytest
from starlette.types import Receive, Scope, Send

from streamrouter.relay.sink import BODY, BY_NAME, Sink
from streamrouter.server.turn import Turn
from tests.ledger.books import until
from tests.server.test_heads import CURL, MINIMAL, NODE_FETCH, OPENAI_PYTHON
from tests.support.serving import GET, Application, Client, serving

CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
FOLDED = b"GET /f HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"
SPACED = b"GET /s HTTP/1.1\r\nHost: a \r\n\r\n"
OPTIONS = b"OPTIONS /%61?b HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"
REQUESTS = [
    *(OPENAI_PYTHON + b"x" * 150, MINIMAL, NODE_FETCH + b"ab", OPTIONS, CURL + b"\r\n", MINIMAL),
    *(SPACED, CURL + b"cd", CHUNKED, MINIMAL, FOLDED),
]
Seen = tuple[str, bytes, bytes, list[tuple[bytes, bytes]], bytes]


class Noting(Application):
    """Answers with what it got, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(self.seen)})


def read_by_h11(data: bytes) -> list[Seen]:
    """The requests in ``data``, as h11 has them."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[Seen] = []
    while isinstance(request := connection.next_event(), h11.Request):
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        path, _, query = request.target.partition(b"?")
        found.append((request.method.decode(), path, query, list(request.headers), body))
        connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        connection.start_next_cycle()
    return found


async def in_pieces(client: Client, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [1, 7, 60, 200, 100_000])
async def test_requests_are_what_h11_says_they_are_however_they_come(size: int) -> None:
    data = b"".join(REQUESTS)
    app = Noting()
    async with serving(app) as running:
        client = await running.connect()
        sending = asyncio.create_task(in_pieces(client, data, size))
        answers = [b"".join((await client.answer())[1]) for _ in REQUESTS]
        await sending
    assert answers == [b"%d" % number for number in range(1, len(REQUESTS) + 1)]
    assert app.seen == read_by_h11(data)


async def test_a_connection_stays_plain_until_a_request_is_not() -> None:
    app = Noting()
    async with serving(app) as running:
        client = await running.connect(b"".join(REQUESTS))
        for _ in REQUESTS:
            await client.answer()
    plain = [BODY in scope["extensions"] for scope in app.scopes]
    assert plain == [True] * REQUESTS.index(SPACED) + [False] * (len(REQUESTS) - REQUESTS.index(SPACED))
    assert plain.count(True) == 6


async def test_the_scope_of_a_plain_request_is_the_one_that_hypercorn_makes() -> None:
    app = Noting()
    async with serving(app) as running:
        client = await running.connect(MINIMAL + SPACED)
        await client.answer()
        await client.answer()
    plain, other = app.scopes
    for scope in (plain, other):
        del scope["extensions"], scope["path"], scope["raw_path"]
        scope.pop(BY_NAME, None)  # a note of ours
    assert plain == other


def closes(data: bytes) -> bytes:
    return data.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n", 1)


async def test_a_client_that_asks_for_the_end_gets_it() -> None:
    app = Application()
    async with serving(app) as running:
        client = await running.connect(closes(GET) + GET)
        head, _ = await client.answer()
        assert (b"connection", b"close") in head.headers
        assert await client.rest() == b""
    assert len(app.scopes) == 1


async def test_a_client_that_only_closed_its_side_still_gets_a_whole_answer() -> None:
    go = asyncio.Event()

    class Slow(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            self.scopes.append(scope)
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    app = Slow()
    async with serving(app) as running:
        client = await running.connect(GET)
        await until(lambda: app.scopes)
        client.writer.write_eof()
        await asyncio.sleep(0.02)
        go.set()
        assert (await client.rest()).endswith(b"\r\n\r\nok")


async def test_a_body_is_read_no_faster_than_it_is_taken() -> None:
    go = asyncio.Event()
    turns: list[Turn] = []

    class Slow(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            assert isinstance(receive.__self__, Turn)  # type: ignore[attr-defined]
            turns.append(receive.__self__)  # type: ignore[attr-defined]
            await go.wait()
            await self._echo(receive, send)

    length = 8_000_000
    async with serving(Slow()) as running:
        client = await running.connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        client.send(b"x" * length)
        await until(lambda: turns and turns[0].unread)
        await asyncio.sleep(0.05)
        assert turns[0].unread < 1_000_000
        go.set()
        assert len(b"".join((await client.answer("POST"))[1])) == length
        client.send(GET)
        await client.answer()


async def test_what_is_pipelined_is_read_no_faster_than_it_is_answered() -> None:
    go = asyncio.Event()

    class Slow(Noting):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await super().__call__(scope, receive, send)

    requests = 4000
    async with serving(Slow()) as running:
        client = await running.connect(CURL + b"ab" + (CURL + b"cd") * (requests - 1))
        await asyncio.sleep(0.05)
        go.set()
        for number in range(1, requests + 1):
            assert (await client.answer())[1] == [b"%d" % number]


async def test_a_response_begun_while_draining_says_that_it_is_the_last() -> None:
    go = asyncio.Event()

    class Slow(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.scopes.append(scope)
            await go.wait()
            await super().__call__(scope, receive, send)

    app = Slow()
    async with serving(app) as running:
        client = await running.connect(GET)
        await until(lambda: app.scopes)
        await running.server.close_listeners()
        go.set()
        head, chunks = await client.answer()
        assert (b"connection", b"close") in head.headers
        assert b"".join(chunks) == b"hello world"
        assert await client.rest() == b""
        assert await running.server.drained(5)


async def test_a_bug_of_the_application_ends_its_own_connection_only() -> None:
    class Buggy(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "GET":
                raise ZeroDivisionError
            await super().__call__(scope, receive, send)

    async with serving(Buggy()) as running:
        other = await running.connect(CURL + b"a")
        client = await running.connect(GET)
        head, _ = await client.answer()
        assert head.status_code == 500
        assert await client.rest() == b""
        other.send(b"b")
        assert (await other.answer("POST"))[1] == [b"ab"]


async def test_an_application_that_says_nothing_is_500() -> None:
    class Silent(Application):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            pass

    async with serving(Silent()) as running:
        assert (await (await running.connect(GET)).rest()).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("first", [b"", GET, SPACED], ids=["first", "after a plain one", "after another"])
async def test_a_head_that_never_ends_is_431(first: bytes) -> None:
    async with serving(Application()) as running:
        client = await running.connect(first)
        if first:
            await client.answer()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA: ")
        await in_pieces(client, b"x" * 40_000, 5_000)
        assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


class Held(Application):
    """The first request waits for ``go``."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.scopes:
            self.scopes.append(scope)
            await self.go.wait()
        await super().__call__(scope, receive, send)


CHUNKED_HEAD = CHUNKED[: CHUNKED.index(b"\r\n\r\n") + 4]


async def test_what_is_pipelined_and_handed_over_is_read_no_faster_than_it_is_taken() -> None:
    """More than the other layers' own limit is here when they get it: they stop reading, and that must hold."""

    class Deaf(Held):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "POST":
                self.scopes.append(scope)
                await asyncio.Event().wait()
            await super().__call__(scope, receive, send)

    app, chunk = Deaf(), b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with serving(app) as running:
        client = await running.connect(GET)
        await until(lambda: app.scopes)
        client.send(CHUNKED_HEAD + chunk * 15)
        await asyncio.sleep(0.02)
        client.send(chunk * 8000)
        await asyncio.sleep(0.02)
        app.go.set()
        await until(lambda: app.scopes[-1]["method"] == "POST")
        await asyncio.sleep(0.3)
        assert client.writer.transport.get_write_buffer_size() > 10_000_000
        client.writer.transport.abort()


async def test_a_connection_is_handed_over_while_its_client_does_not_read() -> None:
    async def much(sink: Sink) -> None:
        sink.start(200, [])
        sink.end(b"x" * 4_000_000)

    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    app = Application(much)
    async with serving(app) as running:
        client = await running.connect(GET)
        await until(lambda: app.scopes)
        client.stop_reading()
        client.send(CHUNKED)
        await until(lambda: "blocked" in app.told.calls)
        await asyncio.sleep(0.02)
        client.read_again()
        await client.answer()
        assert (await client.answer("POST"))[1] == [b"hi"]
    assert reported == []


async def test_a_connection_that_is_handed_over_while_draining_is_still_read() -> None:
    app = Held()
    async with serving(app) as running:
        client = await running.connect(GET)
        await until(lambda: app.scopes)
        client.send(CHUNKED_HEAD + b"2\r\nhi\r\n")
        await asyncio.sleep(0.02)
        await running.server.close_listeners(lambda _: True)
        app.go.set()
        await client.answer()
        await until(lambda: app.scopes[-1]["method"] == "POST")
        client.send(b"2\r\nho\r\n0\r\n\r\n")
        assert b"".join((await client.answer("POST"))[1]) == b"hiho"
