"""Requests in flight are seen, and stopped: their clients get a well-formed end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

from streamrouter.web.console.answers import books, server
from tests.ledger.books import until
from tests.support.admin_api import AdminApi, admin_api
from tests.support.asgi import Answer
from tests.support.held import HeldTransport


class Held:
    def __init__(self, api: AdminApi, transport: HeldTransport) -> None:
        self.api, self.transport = api, transport

    async def begin(self, stream: bool = True) -> asyncio.Task[Answer]:
        before = len(self.transport.exchanges)
        task = asyncio.create_task(self.api.rig.post({"stream": stream}))
        await until(lambda: len(self.transport.exchanges) > before)
        return task

    async def flights(self) -> list[server.Flight]:
        return (await self.api.read(server.Flights, "/streams")).data  # type: ignore[attr-defined,no-any-return]


@pytest_asyncio.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    transport = HeldTransport()
    async with admin_api(tmp_path, transport) as api:
        yield Held(api, transport)


def events(answer: Answer) -> list[Any]:
    return [json.loads(line[6:]) for line in answer.body.decode().split("\n\n") if line.startswith("data: {")]


async def test_a_stream_is_seen_stopped_and_told(held: Held) -> None:
    client = await held.begin()
    await until(lambda: [r for r in held.api.rig.app.gateway.in_flight.values() if r.meter.counted])
    held.api.rig.clock.pass_s(4)
    [flight] = await held.flights()
    assert (flight.user, flight.key_id, flight.model, flight.upstream) == ("team-a", held.api.own_key, "test", "up")
    assert (flight.state, flight.age_s, flight.output_tokens, flight.tokens_per_s) == ("streaming", 4.0, 2, 0.5)
    assert (flight.reserved_output, flight.leased_output) == (100, 100)
    stopped = msgspec.convert(await held.api.post(f"/streams/{flight.id}/stop"), server.Stopped)
    assert stopped.stopped
    answer = await client
    *_, last = events(answer)
    assert (answer.status, last["error"]["code"], b"[DONE]" in answer.body) == (200, "stopped_by_admin", False)
    assert held.transport.exchanges[0].closed
    assert await held.flights() == []
    found = await held.api.read(books.Explained, f"/requests/{flight.id}")
    assert (found.end, found.usage_source, found.charged.output) == ("stopped_by_admin", "partial", 2)
    [line] = (await held.api.get("/audit", limit=1))["data"]
    assert (line["actor"], line["action"], line["subject"]) == ("token script", "request_stopped", flight.id)
    assert (await held.api.call("POST", f"/streams/{flight.id}/stop", {})).status == 404


async def test_a_whole_answer_is_stopped_with_a_status(held: Held) -> None:
    client = await held.begin(stream=False)
    [flight] = await held.flights()
    assert (flight.state, flight.tokens_per_s) == ("answering", None)
    await held.api.post(f"/streams/{flight.id}/stop")
    answer = await client
    assert (answer.status, answer.code, answer.headers["x-should-retry"]) == (403, "stopped_by_admin", "false")


async def test_a_stream_that_has_not_begun_is_stopped_with_a_status(held: Held) -> None:
    held.transport.silent = True
    client = await held.begin()
    [flight] = await held.flights()
    assert (flight.state, flight.output_tokens, flight.tokens_per_s) == ("waiting", 0, None)
    await held.api.post(f"/streams/{flight.id}/stop")
    answer = await client
    assert (answer.status, answer.code) == (403, "stopped_by_admin")
    assert held.transport.exchanges[0].closed


async def test_others_go_on(held: Held) -> None:
    first, second = await held.begin(), await held.begin()
    flights = await held.flights()
    assert len(flights) == 2
    await held.api.post(f"/streams/{flights[0].id}/stop")
    await first
    assert [flight.id for flight in await held.flights()] == [flights[1].id]
    held.transport.exchanges[1].finish()
    assert (await second).body.endswith(b"data: [DONE]\n\n")


async def test_revoking_now_stops_the_keys_streams(held: Held) -> None:
    client = await held.begin()
    gone = await held.api.post(f"/keys/{held.api.own_key}/revoke", {"now": True})
    assert gone["streams_stopped"] == 1
    await client
