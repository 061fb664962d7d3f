from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from streamrouter.web.console.answers import books
from tests.support.admin_api import AdminApi, admin_api


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def test_money_is_booked_once(api: AdminApi) -> None:
    paid = msgspec.convert(
        await api.post("/users/team-a/topups", {"amount": "10"}, status=201, ref="inv-7"), books.TopUp
    )
    assert (paid.credited_usd, paid.balance_usd, paid.ref, paid.repeated) == ("10.00", "10.00", "inv-7", False)
    again = await api.post("/users/team-a/topups", {"amount": "10"}, status=201, ref="inv-7")
    assert (again["balance_usd"], again["repeated"]) == ("10.00", True)
    back = msgspec.convert(await api.post("/users/team-a/refunds", {"amount": "4"}, status=201), books.Booked)
    assert (back.kind, back.amount_usd, back.balance_usd) == ("refund", "-4.00", "6.00")
    mend = await api.post("/users/team-a/adjustments", {"amount": "-0.000000001"}, status=201)
    assert (mend["kind"], mend["balance_usd"]) == ("adjustment", "5.999999999")


async def test_entries_run_back_from_the_balance(api: AdminApi) -> None:
    for amount in ("10", "20", "30"):
        await api.post("/users/team-a/topups", {"amount": amount}, status=201)
        api.rig.clock.pass_s(1)
    await api.post("/users/team-b/topups", {"amount": "5"}, status=201)
    found: list[Any] = []
    cursor = ""
    while True:
        page: Any = await api.read(books.Entries, "/users/team-a/entries", cursor=cursor, limit=2)
        found += page.data
        if page.next is None:
            break
        cursor = page.next
    assert [(line.amount_usd, line.balance_usd) for line in found] == [
        ("30.00", "60.00"),
        ("20.00", "30.00"),
        ("10.00", "10.00"),
    ]
    everybody: Any = await api.read(books.Entries, "/entries", limit=3)
    assert [(line.user, line.balance_usd) for line in everybody.data] == [
        ("team-b", None),
        ("team-a", None),
        ("team-a", None),
    ]
    rest: Any = await api.read(books.Entries, "/entries", limit=3, cursor=everybody.next)
    assert ([line.amount_usd for line in rest.data], rest.next) == (["10.00"], None)


async def test_entries_as_a_file(api: AdminApi) -> None:
    await api.post("/users/team-a/topups", {"amount": "10"}, status=201, ref="=cmd|calc")
    for path in ("/entries", "/users/team-a/entries"):
        answer = await api.call("GET", path, query={"format": "csv"})
        head, row, end = answer.body.decode().split("\r\n")
        assert (head, end) == ("id,time,day,user,kind,amount_usd,ref,balance_usd", "")
        assert "team-a,payment,10.00,'=cmd|calc," in row


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/entries", {"cursor": "x"}),
        ("/users/team-a/entries", {"cursor": "1"}),
        ("/users/team-a/entries", {"cursor": "1_2_3; DROP"}),
        ("/entries", {"cursor": str(2**63)}),
        ("/entries", {"limit": "0"}),
        ("/entries", {"limit": "501"}),
        ("/entries", {"format": "xml"}),
        ("/entries", {"user": "team-a"}),
    ],
)
async def test_a_query_that_is_refused(api: AdminApi, path: str, query: dict[str, str]) -> None:
    assert (await api.call("GET", path, query=query)).status == 400


async def test_money_that_is_refused(api: AdminApi) -> None:
    for body in ({"amount": "-1"}, {"amount": 10}, {"amount": "1", "fee": "0"}, {}):
        assert (await api.call("POST", "/users/team-a/topups", body)).status == 400
    assert (await api.call("POST", "/users/team-a/refunds", {"amount": "1"})).status == 400  # nothing to give back
    assert (await api.call("POST", "/users/nobody/topups", {"amount": "1"})).status == 404
    assert (await api.call("GET", "/users/nobody/entries")).status == 404
