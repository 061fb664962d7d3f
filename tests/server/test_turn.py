"""One request and its response, without a socket: the body's parts, framing, the rules of send."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.server.heads import ResponseHeads
from streamrouter.server.turn import Turn
from tests.support.serving import Told


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closing


class Line:
    """A connection to a ``Wire``."""

    def __init__(self, *, last: bool = False) -> None:
        self.wire = Wire()
        self.transport = cast(asyncio.Transport, self.wire)
        self.heads = ResponseHeads(lambda: [(b"date", b"now")])
        self.blocked = False
        self.takes = 0
        self._last = last

    def last(self) -> bool:
        return self._last

    def taken(self) -> None:
        self.takes += 1

    async def writable(self) -> None:
        self.blocked = False

    def read(self) -> tuple[h11.Response, bytes, bool]:
        """The response as h11 reads it: head, body, and whether the connection goes on."""
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(b"".join(self.wire.writes))
        head, body = client.next_event(), b""
        assert isinstance(head, h11.Response)
        while isinstance(event := client.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage)
        assert client.trailing_data == (b"", False)
        return head, body, client.their_state is h11.DONE


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


# -- the body ---------------------------------------------------------------------------------------------------------


async def test_a_body_that_came_with_its_head_is_one_message_then_the_client_is_waited_for() -> None:
    line = Line()
    turn = Turn(line, b"abc", 0)
    assert await turn.receive() == {"type": "http.request", "body": b"abc", "more_body": False}
    assert line.takes == 1
    waiting = asyncio.create_task(turn.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    turn.leave()
    assert await waiting == {"type": "http.disconnect"}
    assert await turn.receive() == {"type": "http.disconnect"}


async def test_no_body_is_an_empty_message() -> None:
    assert await Turn(Line(), b"", 0).receive() == {"type": "http.request", "body": b"", "more_body": False}


async def test_a_body_in_parts_arrives_in_order() -> None:
    turn = Turn(Line(), b"a", 5)
    assert turn.whole_body() is None
    turn.feed(b"bc")
    assert await turn.receive() == {"type": "http.request", "body": b"abc", "more_body": True}
    waiting = asyncio.create_task(turn.receive())
    await asyncio.sleep(0)
    turn.feed(b"def")
    assert await waiting == {"type": "http.request", "body": b"def", "more_body": False}
    assert turn.whole_body() is None  # it was given


async def test_a_client_that_leaves_within_its_body_is_told_behind_what_came() -> None:
    turn = Turn(Line(), b"a", 5)
    turn.leave()
    assert (await turn.receive())["body"] == b"a"
    assert await turn.receive() == {"type": "http.disconnect"}


async def test_a_whole_body_is_to_be_had_without_waiting_once() -> None:
    turn = Turn(Line(), b"ab", 0)
    assert turn.whole_body() == b"ab"
    assert turn.whole_body() is None


async def test_after_the_response_there_is_nobody_to_receive_from() -> None:
    turn = Turn(Line(), b"", 0)
    await turn.receive()
    waiting = asyncio.create_task(turn.receive())
    await asyncio.sleep(0)
    await turn.send(start())
    await turn.send(part(b""))
    assert await waiting == {"type": "http.disconnect"}


# -- the response by messages ------------------------------------------------------------------------------------------

LENGTH = (b"content-length", b"5")


async def test_a_whole_answer_is_one_write() -> None:
    line = Line()
    turn = Turn(line, b"", 0)
    await turn.send(start(200, LENGTH))
    assert line.wire.writes == []
    await turn.send(part(b"hello"))
    assert len(line.wire.writes) == 1
    head, body, goes_on = line.read()
    assert (head.status_code, head.reason, body, goes_on) == (200, b"OK", b"hello", True)
    assert turn.ended


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(st.binary(max_size=30), min_size=1, max_size=5), declared=st.booleans(), last=st.booleans())
def test_h11_reads_what_was_sent(parts: list[bytes], declared: bool, last: bool) -> None:
    async def play() -> None:
        line = Line(last=last)
        turn = Turn(line, b"", 0)
        whole = b"".join(parts)
        await turn.send(start(201, *([(b"content-length", b"%d" % len(whole))] if declared else [])))
        for number, body in enumerate(parts, 1):
            await turn.send(part(body, more=number < len(parts)))
        head, body, goes_on = line.read()
        assert (head.status_code, body, goes_on) == (201, whole, not last)
        assert ((b"connection", b"close") in head.headers) == last == turn.close_after
        chunked = (b"transfer-encoding", b"chunked") in head.headers
        assert chunked == (not declared and len(parts) > 1)

    asyncio.run(play())


@pytest.mark.parametrize("last", [False, True])
async def test_an_answer_is_what_the_two_messages_are(last: bool) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-a", b"1")]
    told, answered = Line(last=last), Line(last=last)
    turn = Turn(told, b"", 0)
    await turn.send(start(200, *headers))
    await turn.send(part(b"hello"))
    direct = Turn(answered, b"", 0)
    answered.blocked = True
    await direct.answer(200, headers, b"hello")
    assert answered.wire.writes == told.wire.writes and len(told.wire.writes) == 1
    assert (direct.ended, direct.close_after) == (turn.ended, turn.close_after) == (True, last)
    assert not answered.blocked  # it waited
    with pytest.raises(RuntimeError):
        await direct.answer(200, headers, b"again")


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(status: int) -> None:
    line = Line()
    turn = Turn(line, b"", 0)
    await turn.send(start(status))
    await turn.send(part(b""))
    head, body, goes_on = line.read()
    assert (head.status_code, body, goes_on) == (status, b"", True)
    assert {name for name, _ in head.headers} == {b"date"}


async def test_the_applications_own_close_is_kept_to() -> None:
    line = Line()
    turn = Turn(line, b"", 0)
    await turn.send(start(400, (b"connection", b"close")))
    await turn.send(part(b""))
    head, _, goes_on = line.read()
    assert [name for name, _ in head.headers].count(b"connection") == 1
    assert turn.close_after
    assert not goes_on


async def test_a_stream_that_is_the_last_says_so_once() -> None:
    line = Line(last=True)
    sink = Turn(line, b"", 0).sink()
    sink.start(200, [(b"connection", b"keep-alive")])
    sink.end(b"a")
    head, _, goes_on = line.read()
    assert [value for name, value in head.headers if name == b"connection"] == [b"close"]
    assert not goes_on


async def test_a_response_before_the_body_came_ends_the_connection() -> None:
    line = Line()
    turn = Turn(line, b"", 5)
    await turn.send(start(413))
    await turn.send(part(b""))
    assert (b"connection", b"close") in line.read()[0].headers


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"no start")],
        [start(), start()],
        [start(), part(b"a"), part(b"b")],
        [start(), {"type": "http.response.push"}],
        [start(200, LENGTH), part(b"too long")],
        [start(200, LENGTH), part(b"four")],
        [start(200, LENGTH), part(b"four", more=True), part(b"a", more=True), part(b"b")],
    ],
)
async def test_messages_out_of_order_are_a_bug(messages: list[dict[str, Any]]) -> None:
    turn = Turn(Line(), b"", 0)
    for message in messages[:-1]:
        await turn.send(message)
    with pytest.raises(RuntimeError):
        await turn.send(messages[-1])


async def test_send_waits_for_a_client_that_fell_behind() -> None:
    line = Line()
    turn = Turn(line, b"", 0)
    await turn.send(start())
    line.blocked = True
    await turn.send(part(b"a"))
    assert not line.blocked


async def test_a_bug_before_the_status_is_500_and_after_it_a_cut() -> None:
    line = Line()
    turn = Turn(line, b"", 0)
    await turn.send(start(200, (b"a", b"b")))
    turn.fail()
    head, body, goes_on = line.read()
    assert (head.status_code, body, goes_on) == (500, b"", False)
    turn = Turn(line := Line(), b"", 0)
    await turn.send(start())
    await turn.send(part(b"a", more=True))
    turn.fail()
    assert len(line.wire.writes) == 1
    assert not turn.ended
    turn = Turn(line := Line(), b"", 0)
    turn.leave()
    turn.fail()
    assert line.wire.writes == []


# -- the response as a sink --------------------------------------------------------------------------------------------


async def test_head_and_first_event_leave_together_and_so_do_the_last_and_the_end() -> None:
    line = Line()
    sink = Turn(line, b"", 0).sink()
    sink.start(200, [(b"a", b"b")])
    assert line.wire.writes == []
    sink.write(b"one")
    sink.write(b"")
    sink.end(b"two")
    sink.write(b"late")
    sink.end(b"later")
    assert len(line.wire.writes) == 2
    head, body, goes_on = line.read()
    assert (head.status_code, body, goes_on) == (200, b"onetwo", True)
    await sink.close()


async def test_the_reader_is_told_how_its_client_does() -> None:
    line = Line()
    sink = Turn(line, b"", 0).sink()
    sink.fell_behind()
    sink.caught_up()
    sink.reader = told = Told()
    line.blocked = True
    sink.start(200, [])
    sink.caught_up()
    sink.fell_behind()
    sink.leave()
    sink.leave()
    assert told.calls == ["blocked", "writable", "blocked", "gone"]
    sink.reader = late = Told()
    assert late.calls == ["gone"]
    line.wire.closing = True
    sink.write(b"a")
    assert line.wire.writes == []


async def test_a_client_that_leaves_after_the_end_is_nobodys_concern() -> None:
    sink = Turn(Line(), b"", 0).sink()
    sink.reader = told = Told()
    sink.start(200, [])
    sink.end(b"")
    sink.leave()
    assert told.calls == []
