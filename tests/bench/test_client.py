"""One connection of a load, fed by hand."""

from __future__ import annotations

import asyncio
from typing import Any

from streamrouter.bench.client import Connection, Tally
from streamrouter.bench.target import call_body, target
from tests.bench.test_answer import DONE, EVENT, HEAD, chunked, whole


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.ended = ""

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def close(self) -> None:
        self.ended = self.ended or "closed"


def connected() -> tuple[Connection, Wire, Tally, list[bool]]:
    """A connection, its wire, the tally, and whether it was usable each time that it said it had ended."""
    aim = target("http://x/v1", call_body("m", stream=True, max_tokens=1), stream=True)
    tally, ends, wire = Tally(), list[bool](), Wire()
    connection = Connection(aim, tally, lambda each: ends.append(each.usable))
    connection.connection_made(wire)
    return connection, wire, tally, ends


async def test_one_request_after_the_other() -> None:
    connection, wire, tally, ends = connected()
    for _ in range(2):
        connection.ask(0.0)
        connection.data_received(HEAD + chunked(EVENT * 3, DONE))
    assert (len(wire.written), tally.requests, tally.events, ends) == (2, 2, 6, [True, True])
    assert list(tally.gaps_s) == [0.0] * 4  # what comes in one piece has no gap between
    assert len(tally.first_s) == len(tally.total_s) == 2


async def test_a_server_that_closes_after_its_answer() -> None:
    connection, wire, tally, ends = connected()
    connection.ask(0.0)
    connection.data_received(whole(b"{}", b"429 Slow", b"Connection: close"))
    connection.connection_lost(None)
    assert (dict(tally.errors), ends, wire.ended) == ({"status 429": 1}, [False], "aborted")


async def test_a_connection_that_breaks_in_an_answer_and_one_that_was_idle() -> None:
    connection, _, tally, ends = connected()
    connection.ask(0.0)
    connection.data_received(HEAD + chunked(EVENT)[:-5])
    connection.connection_lost(ConnectionResetError())
    assert (dict(tally.errors), ends) == ({"truncated": 1}, [False])
    connection, _, tally, ends = connected()
    connection.ask(0.0)
    connection.data_received(HEAD + chunked(DONE))
    connection.ask(5.0)
    connection.connection_lost(None)
    assert (tally.requests, connection.stale, connection.due_at) == (1, True, 5.0)


async def test_what_nobody_asked_for_is_not_counted() -> None:
    connection, _, tally, _ = connected()
    connection.data_received(EVENT)
    assert tally.bytes == 0


async def test_giving_up() -> None:
    connection, wire, tally, ends = connected()
    connection.ask(0.0)
    connection.expire()
    connection.data_received(HEAD)
    assert (dict(tally.errors), ends, wire.ended) == ({"timeout": 1}, [False], "aborted")
