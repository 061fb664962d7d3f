from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from streamrouter.clock import SystemClock
from streamrouter.errors import Refusal
from streamrouter.web.console.answers.server import LiveEvent
from streamrouter.web.console.feed import MOST_WATCHERS, Feed, iso_in
from tests.ledger.books import until
from tests.support.asgi import Rig, running
from tests.support.held import HeldTransport


class Fed:
    """A feed over an application whose upstream is held; ``draining`` can be set."""

    def __init__(self, rig: Rig, transport: HeldTransport, period_s: float = 0.001) -> None:
        self.rig, self.transport, self.draining = rig, transport, False
        app = rig.app
        self.feed = Feed(app.watch, lambda: app.gateway, rig.ledger, SystemClock(), lambda: self.draining, period_s)

    def aggregate(self) -> LiveEvent:
        return msgspec.convert(self.feed.aggregate(), LiveEvent)


@pytest_asyncio.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Fed]:
    transport = HeldTransport()
    async with running(tmp_path, transport) as rig:
        yield Fed(rig, transport)


async def test_everybody_gets_the_same_aggregate_and_the_last_one_ends_it(fed: Fed) -> None:
    first, second = fed.feed.join(), fed.feed.join()
    got = await asyncio.gather(first.next(), second.next())
    assert got[0] == got[1] and got[0] is not None
    msgspec.json.decode(got[0], type=LiveEvent)
    assert await first.next() is not None
    fed.feed.leave(first)
    assert await second.next() is not None
    assert len(fed.rig.app.watch.listeners) == 1
    fed.feed.leave(second)
    fed.feed.leave(second)
    assert fed.rig.app.watch.listeners == []
    again = fed.feed.join()
    assert await again.next() is not None
    fed.feed.leave(again)


async def test_nobody_begins_with_what_is_old(fed: Fed) -> None:
    watcher = fed.feed.join()
    await watcher.next()
    fed.feed.leave(watcher)
    late = fed.feed.join()
    assert (fed.feed.latest, fed.feed.number) == (b"", 0)
    assert await late.next() is not None
    fed.feed.leave(late)


async def test_whoever_is_slow_misses_some_and_gets_the_newest(fed: Fed) -> None:
    slow, number = fed.feed.join(), fed.feed.number
    await slow.next()
    await until(lambda: fed.feed.number > number + 5)
    assert await slow.next() == fed.feed.latest
    fed.feed.leave(slow)


async def test_watchers_are_bounded(fed: Fed) -> None:
    watchers = [fed.feed.join() for _ in range(MOST_WATCHERS)]
    with pytest.raises(Refusal, match="open already"):
        fed.feed.join()
    fed.feed.leave(watchers.pop())
    watchers.append(fed.feed.join())
    for watcher in watchers:
        fed.feed.leave(watcher)


async def test_it_ends_when_the_server_drains(fed: Fed) -> None:
    watcher = fed.feed.join()
    assert await watcher.next() is not None
    fed.draining = True
    while await watcher.next() is not None:
        pass
    with pytest.raises(Refusal, match="shutting down"):
        fed.feed.join()
    fed.feed.leave(watcher)
    assert fed.rig.app.watch.listeners == []


async def test_tokens_are_counted_as_they_are_read_and_once(tmp_path: Path) -> None:
    transport = HeldTransport()
    async with running(tmp_path, transport) as rig:
        fed = Fed(rig, transport, period_s=1.0)
        watcher = fed.feed.join()
        await watcher.next()
        client = asyncio.create_task(rig.post({"stream": True}))
        await until(lambda: [r for r in rig.app.gateway.in_flight.values() if r.meter.counted])
        found = fed.aggregate()
        assert (found.active, found.streams, found.output_tokens_s, found.requests_s) == (1, 1, 2.0, 0.0)
        assert fed.aggregate().output_tokens_s == 0.0
        transport.exchanges[0].say()
        transport.exchanges[0].say()
        assert fed.aggregate().output_tokens_s == 4.0
        transport.exchanges[0].finish()
        await client
        await rig.ledger.check()
        await until(lambda: rig.app.watch.recent)
        found = fed.aggregate()
        assert (found.active, found.requests_s, found.errors_s) == (0, 1.0, 0.0)
        assert found.output_tokens_s <= 1.0  # joined, the pieces may count less than each alone
        assert fed.aggregate().requests_s == 0.0
        fed.feed.leave(watcher)


async def test_while_nobody_watches_nothing_is_read(fed: Fed) -> None:
    assert fed.rig.app.watch.listeners == []
    assert (fed.feed.number, fed.feed.latest) == (0, b"")


def test_a_moment_ahead() -> None:
    assert iso_in(90, 1_800_000_000_000_000_000) == "2027-01-15T08:01:30Z"
