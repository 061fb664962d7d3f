"""Connections between two requests. What the transport makes of them is in test_client_connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.connector import Connection
from yarl import URL

from streamrouter.upstream.push import PushConnector
from streamrouter.upstream.spare import Spares
from tests.ledger.books import until
from tests.support.upstream import ScriptedUpstream, Seen


class Connecting:
    """Connections to an upstream, without a request on them."""

    def __init__(self, url: str) -> None:
        self._connector = PushConnector(limit=0)
        self._request = aiohttp.ClientRequest("POST", URL(url), loop=asyncio.get_running_loop())

    async def one(self) -> Connection:
        return await self._connector.connect(self._request, [], aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        await self._connector.close()


@pytest.fixture
async def made(upstream: ScriptedUpstream) -> AsyncIterator[Connecting]:
    async def silent(seen: Seen) -> None:
        await seen.gone()

    upstream.script = silent
    connecting = Connecting(upstream.url)
    yield connecting
    await connecting.close()


async def test_the_one_used_last_is_taken_first(made: Connecting) -> None:
    spares = Spares(5.0)
    first, second = await made.one(), await made.one()
    assert spares.take() is None
    spares.put(first)
    spares.put(second)
    assert (spares.take(), spares.take(), spares.take()) == (second, first, None)
    for connection in (first, second):
        assert not connection.closed
        spares.put(connection)
    spares.close()
    assert first.closed and second.closed


async def test_what_cannot_be_used_again_is_closed(made: Connecting) -> None:
    spares = Spares(5.0)
    spoke, began, dead, forced = [await made.one() for _ in range(4)]
    for connection in (spoke, began, dead):
        spares.put(connection)
    assert spoke.protocol is not None and began.protocol is not None
    assert dead.transport is not None and forced.protocol is not None
    spoke.protocol.data_received(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    began.protocol.data_received(b"HTTP/1.1 408 Requ")
    dead.transport.abort()
    assert spares.take() is None
    forced.protocol.force_close()
    spares.put(forced)
    assert spares.take() is None
    assert spoke.closed and began.closed and dead.closed and forced.closed


async def test_the_idle_end_by_themselves(made: Connecting) -> None:
    spares = Spares(0.05)
    first = await made.one()
    spares.put(first)
    await until(lambda: first.closed)
    second = await made.one()
    spares.put(second)  # the timer begins anew
    await until(lambda: second.closed)
    assert spares.take() is None


async def test_none_is_kept_where_none_is_wanted(made: Connecting) -> None:
    spares = Spares(0)
    connection = await made.one()
    spares.put(connection)
    assert connection.closed and spares.take() is None
