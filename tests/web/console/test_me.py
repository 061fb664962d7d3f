"""A member sees and does only their own; another's is as unknown as what never was (S13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from streamrouter.web.console.answers import books, server
from streamrouter.web.console.me import MOST_KEYS
from tests.support.admin_api import OTHER, AdminApi, admin_api
from tests.support.asgi import Rig


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def others_request(rig: Rig) -> str:
    """A request of the other account."""
    _, secret = await rig.ledger.create_key(OTHER, "main", "sk-", None, None)
    own, rig.secret = rig.secret, secret
    answer = await rig.post({})
    rig.secret = own
    return answer.headers["x-request-id"]


async def test_all_about_me(api: AdminApi) -> None:
    await api.spend()
    me = await api.read(server.Me, "/me", who="member")
    assert (me.person.name, me.person.user, me.account.user, me.usage.input.used) == ("mia", "team-a", "team-a", 7)
    assert [key.id for key in me.keys] == [api.own_key]
    assert [surface.base_path for surface in me.surfaces] == ["/v1"]


async def test_somebody_without_an_account_is_nobody_here(api: AdminApi) -> None:
    for who in ("admin", "token"):
        for path in ("/me", "/me/requests", "/me/usage", "/me/entries"):
            assert (await api.call("GET", path, who=who)).status == 404
        assert (await api.call("POST", "/me/keys", {}, who=who)).status == 404


async def test_a_member_makes_rotates_and_revokes_keys(api: AdminApi) -> None:
    made = msgspec.convert(await api.post("/me/keys", {}, who="member", status=201, ref="r"), books.MadeKey)
    assert made.key is not None
    assert (made.user, (await api.rig.get("/v1/models", secret=made.key)).status) == ("team-a", 200)
    assert (await api.post("/me/keys", {}, who="member", status=201, ref="r"))["key"] is None
    new = msgspec.convert(await api.post(f"/me/keys/{made.id}/rotate", who="member"), books.NewSecret)
    assert [(await api.rig.get("/v1/models", secret=each)).status for each in (made.key, new.key)] == [401, 200]
    gone = msgspec.convert(await api.post(f"/me/keys/{new.id}/revoke", who="member"), books.RevokedKey)
    assert gone.status == "revoked"
    assert (await api.get("/audit"))["data"][0]["actor"] == "mia"


async def test_a_member_cannot_give_a_key_more_than_its_surface_has(api: AdminApi) -> None:
    for body in ({"models": ["test"]}, {"concurrency": 99}, {"user": OTHER}, {"surface": "none"}):
        assert (await api.call("POST", "/me/keys", body, who="member")).status == 400
    for _ in range(MOST_KEYS - 1):
        await api.post("/me/keys", {}, who="member", status=201)
    assert "Revoke one" in (await api.call("POST", "/me/keys", {}, who="member")).json["error"]["message"]


async def test_many_keys_at_once_are_no_more_than_one_by_one(api: AdminApi) -> None:
    first = await api.call("POST", "/me/keys", {}, who="member", ref="mine")
    others = await asyncio.gather(*(api.call("POST", "/me/keys", {}, who="member") for _ in range(30)))
    assert sorted(answer.status for answer in [first, *others]) == [201] * (MOST_KEYS - 1) + [400] * 12
    again = await api.call("POST", "/me/keys", {}, who="member", ref="mine")
    assert (again.status, again.json["id"], again.json["key"]) == (201, first.json["id"], None)


@pytest.mark.parametrize("act", ["rotate", "revoke"])
async def test_anothers_key_does_not_exist(api: AdminApi, act: str) -> None:
    for key_id in (api.other_key, "key_none"):
        answer = await api.call("POST", f"/me/keys/{key_id}/{act}", {}, who="member")
        assert (answer.status, answer.json["error"]["message"]) == (404, "You have no such key.")
    keys: Any = await api.read(books.Keys, f"/users/{OTHER}/keys")
    assert [(key.id, key.status) for key in keys.data] == [(api.other_key, "active")]


async def test_own_requests_and_nobody_elses(api: AdminApi) -> None:
    [mine] = await api.spend()
    other = await others_request(api.rig)
    page: Any = await api.read(books.Requests, "/me/requests", who="member")
    assert [row.id for row in page.data] == [mine]
    assert (await api.get("/me/requests", who="member", key=api.other_key))["data"] == []
    assert (await api.call("GET", "/me/requests", who="member", query={"user": OTHER})).status == 400
    assert (await api.read(books.Explained, f"/me/requests/{mine}", who="member")).id == mine
    for hidden in (other, "req_none"):
        answer = await api.call("GET", f"/me/requests/{hidden}", who="member")
        assert (answer.status, OTHER in answer.body.decode()) == (404, False)
        assert "it was refused, or removed" in answer.json["error"]["message"]  # of neither it is told that it is there
    text = (await api.call("GET", "/me/requests", who="member", query={"format": "csv"})).body.decode()
    assert (mine in text, other in text) == (True, False)


async def test_own_usage_and_money_and_nobody_elses(api: AdminApi) -> None:
    await others_request(api.rig)
    await api.post(f"/users/{OTHER}/topups", {"amount": "5"}, status=201)
    await api.post("/users/team-a/topups", {"amount": "7"}, status=201)
    assert (await api.get("/me/usage", who="member", by="user"))["data"] == []
    assert (await api.call("GET", "/me/usage", who="member", query={"user": OTHER})).status == 400
    page: Any = await api.read(books.Entries, "/me/entries", who="member")
    assert [(line.user, line.amount_usd) for line in page.data] == [("team-a", "7.00")]
    csv = (await api.call("GET", "/me/entries", who="member", query={"format": "csv"})).body.decode()
    assert OTHER not in csv
    assert (await api.call("GET", "/me/usage", who="member", query={"format": "csv"})).status == 200
