from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.web.console.answers import books
from tests.support.admin_api import AdminApi, admin_api


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def ids(api: AdminApi, **query: Any) -> list[str]:
    found, cursor = [], ""
    while True:
        page: Any = await api.read(books.Requests, "/requests", **query, cursor=cursor)
        found += [row.id for row in page.data]
        if page.next is None:
            return found
        cursor = page.next


async def test_requests_by_pages_and_filters(api: AdminApi) -> None:
    made = []
    for number in range(5):
        made += await api.spend(model="test" if number % 2 else "org/other:1")
        api.rig.clock.pass_s(3600)
    newest_first = made[::-1]
    assert await ids(api, limit=2) == newest_first
    assert await ids(api, user="team-a", limit=1) == newest_first
    assert await ids(api, user="team-b") == []
    assert await ids(api, model="test") == [made[3], made[1]]
    assert await ids(api, key=api.own_key, upstream="up", end="finished", source="upstream") == newest_first
    assert await ids(api, end="client_left") == await ids(api, source="local") == await ids(api, upstream="x") == []
    assert await ids(api, since="150m") == newest_first[:2]
    assert await ids(api, since="2024-10-04T13:00:00Z", until="2024-10-04T15:00:00+00:00") == [made[2], made[1]]
    assert await ids(api, since="2024-10-04T14:30", until="1h") == [made[3]]


async def test_what_is_not_whole_is_refused(api: AdminApi) -> None:
    for query in (
        {"since": "yesterday"},
        {"until": "7x"},
        {"cursor": "req_'; --"},
        {"limit": "9999"},
        {"wanted": "1"},
        {"user": ""},
        {"format": "pdf"},
    ):
        answer = await api.call("GET", "/requests", query=query)
        assert (answer.status, answer.code) == (400, "invalid_value"), query
    assert (await api.call("GET", "/requests", query={"user": "nobody"})).status == 404


async def test_sql_in_a_filter_is_a_value_like_any_other(api: AdminApi) -> None:
    await api.spend()
    for name in ("key", "model", "upstream", "end", "source"):
        assert await ids(api, **{name: "x' OR '1'='1"}) == []


async def test_one_request_explained(api: AdminApi) -> None:
    [request_id] = await api.spend()
    found = await api.read(books.Explained, f"/requests/{request_id}")
    assert (found.user, found.charged.input, found.charged.output, found.end) == ("team-a", 7, 3, "finished")
    assert [phase.name for phase in found.phases] == ["admit", "upstream", "settle"]
    assert found.attempts is not None
    assert [(attempt.upstream, attempt.outcome) for attempt in found.attempts] == [("up", "ok")]
    api.rig.app.watch.recent.clear()
    assert (await api.read(books.Explained, f"/requests/{request_id}")).attempts is None
    assert (await api.call("GET", "/requests/req_none")).status == 404


@pytest.mark.parametrize("by", ["user", "key", "model", "day"])
async def test_usage_by_each_of_its_columns(api: AdminApi, by: str) -> None:
    await api.spend(2)
    found: Any = await api.read(books.UsageReport, "/usage", by=by, since="1d")
    [row] = found.data
    assert (row.requests, row.input, row.output) == (2, 14, 6)
    assert getattr(row, by)
    answer = await api.call("GET", "/usage", query={"by": by, "format": "csv"})
    assert answer.body.decode().startswith(f"{by},requests,input,output,cached,reasoning,cost_usd")
    assert await api.get("/usage", by=by, user="team-b") == {"data": [], "next": None}


async def test_usage_that_is_refused(api: AdminApi) -> None:
    for query in ({"by": "account"}, {"since": "0d"}, {"since": "week"}):
        assert (await api.call("GET", "/usage", query=query)).status == 400
    assert (await api.call("GET", "/usage", query={"user": "nobody"})).status == 404


async def test_requests_as_a_file_of_many_pages(api: AdminApi) -> None:
    made = await api.spend(3)
    answer = await api.call("GET", "/requests", query={"format": "csv", "user": "team-a"})
    lines = answer.body.decode().split("\r\n")
    assert lines[0] == ",".join(books.Request.__struct_fields__)
    assert sorted(line.partition(",")[0] for line in lines[1:-1]) == sorted(made)
    assert (await api.call("GET", "/requests", query={"format": "csv", "user": "nobody"})).status == 404
