from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streamrouter.ledger import rollups
from streamrouter.ops.series import Slot
from streamrouter.web.console.answers import server
from streamrouter.web.console.series import SPANS
from tests.support.admin_api import AdminApi, admin_api


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def read(api: AdminApi, span: str) -> server.SeriesAnswer:
    return await api.read(server.SeriesAnswer, "/series", range=span)


@pytest.mark.parametrize("span", SPANS)
async def test_every_range_ends_now_and_is_bounded(api: AdminApi, span: str) -> None:
    found = await read(api, span)
    now_s = api.rig.clock.now_ns() // 1_000_000_000
    assert 280 <= len(found.t) <= 400
    assert found.t[-1] <= now_s < found.t[-1] + found.step_s
    assert all(after - before == found.step_s for before, after in zip(found.t, found.t[1:], strict=False))
    assert {len(getattr(found.series, name)) for name in server.Lines.__struct_fields__} == {len(found.t)}


async def test_an_hour_is_what_this_process_has_seen(api: AdminApi) -> None:
    api.rig.clock.pass_s(30)
    await api.spend(3)
    found = await read(api, "1h")
    assert found.series.requests[-4:] == [0, 0, 0, 3]
    assert found.series.requests[0] is None
    assert (found.series.input_tokens[-1], found.series.cost_usd[-1]) == (21, "0.00")
    assert found.series.ttft_p50_ms[-1] is None


async def test_minutes_before_the_start_come_from_the_books(api: AdminApi) -> None:
    minute = api.rig.clock.now_ns() // 60_000_000_000
    earlier = {minute - back: Slot(requests=back, active=back, ttft={30: 1}) for back in (1, 2, 61)}
    await api.rig.ledger.act(rollups.write, earlier)
    await api.spend(5)
    found = await read(api, "6h")
    assert found.series.requests[-3:] == [2, 1, 5]
    assert found.series.requests[-62] == 61
    assert (found.series.active[-2], found.series.ttft_p50_ms[-2]) == (1, 69)
    day = await read(api, "24h")
    assert sum(count or 0 for count in day.series.requests) == 69
    week = await read(api, "7d")
    assert sum(count or 0 for count in week.series.requests) == 69


async def test_minutes_that_are_written_are_not_counted_twice(api: AdminApi) -> None:
    await api.spend(2)
    api.rig.clock.pass_s(120)
    watch, now_s = api.rig.app.watch, api.rig.clock.now_ns() // 1_000_000_000
    await api.rig.ledger.act(rollups.write, watch.minutes(now_s))
    watch.written(now_s)
    for span in SPANS:
        assert sum(count or 0 for count in (await read(api, span)).series.requests) == 2


async def test_more_minutes_than_one_read_brings(api: AdminApi) -> None:
    minute = api.rig.clock.now_ns() // 60_000_000_000
    await api.rig.ledger.act(rollups.write, {minute - back: Slot(requests=1) for back in range(1, 1000)})
    assert sum(count or 0 for count in (await read(api, "24h")).series.requests) == 999


async def test_a_range_that_is_none(api: AdminApi) -> None:
    assert (await api.call("GET", "/series", query={"range": "1y"})).status == 400


async def test_a_restart_within_a_minute_loses_nothing(api: AdminApi) -> None:
    minute, watch = api.rig.clock.now_ns() // 60_000_000_000, api.rig.app.watch
    await api.rig.ledger.act(rollups.write, {minute: Slot(requests=4)})  # by the process before this one
    await api.spend(2)
    assert (await read(api, "6h")).series.requests[-1] == 6
    api.rig.clock.pass_s(60)
    assert (await read(api, "6h")).series.requests[-2:] == [6, 0]
    now_s = api.rig.clock.now_ns() // 1_000_000_000
    await api.rig.ledger.act(rollups.write, watch.minutes(now_s))
    watch.written(now_s)
    await api.spend(1)
    assert (await read(api, "6h")).series.requests[-2:] == [6, 1]
    assert sum(count or 0 for count in (await read(api, "30d")).series.requests) == 7
