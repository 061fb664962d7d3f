"""People and tokens over HTTP: what an admin does with them, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.asgi import Rig, running
from tests.support.console import Browser, signed_in


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


async def test_somebody_is_invited_and_listed(rig: Rig) -> None:
    admin = await signed_in(rig)
    made = await admin.post("/people", {"name": "ben", "role": "member", "user": "team-b"})
    assert (made.status, made.json["person"]["status"], made.json["repeated"]) == (201, "invited", False)
    people = (await admin.get("/people")).json["data"]
    assert [(each["name"], each["role"], each["status"], each["user"]) for each in people] == [
        ("anna", "admin", "active", None),
        ("ben", "member", "invited", "team-b"),
    ]
    assert people[1] == made.json["person"] and people[1]["invited_until"] == made.json["expires"]
    assert {account.name for account in await rig.ledger.accounts()} == {"team-a", "team-b"}
    again = await admin.post(f"/people/{people[1]['id']}/invitation", {})
    assert (again.status, set(again.json)) == (201, {"link", "expires"})
    assert again.json["link"] != made.json["link"]


async def test_an_idempotency_key_invites_once_and_shows_the_link_once(rig: Rig) -> None:
    admin = await signed_in(rig)
    once = ("idempotency-key", "invite-ben")
    first = (await admin.post("/people", {"name": "ben", "role": "admin"}, once)).json
    again = (await admin.post("/people", {"name": "ben", "role": "admin"}, once)).json
    assert (again["person"], again["link"], again["repeated"]) == (first["person"], None, True)
    other = await admin.post("/people", {"name": "eve", "role": "admin"}, once)
    assert (other.status, other.code) == (400, "invalid_value")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "ben"}, 400),
        ({"name": "ben", "role": "owner"}, 400),
        ({"name": "", "role": "member"}, 400),
        ({"name": "anna", "role": "member"}, 400),
        ({"name": "<img>", "role": "member"}, 400),
        ({"name": "ben", "role": "member", "user": "no name"}, 400),
        ({"name": "ben", "role": "admin", "user": "nobody"}, 404),
    ],
)
async def test_who_cannot_be_invited(rig: Rig, body: dict[str, str], status: int) -> None:
    admin = await signed_in(rig)
    assert (await admin.post("/people", body)).status == status
    assert len((await admin.get("/people")).json["data"]) == 1
    assert [account.name for account in await rig.ledger.accounts()] == ["team-a"]


async def test_changes_and_the_last_admin(rig: Rig) -> None:
    admin = await signed_in(rig)
    (anna,) = (await admin.get("/people")).json["data"]
    mine = f"/people/{anna['id']}"
    for change in ({"role": "member"}, {"status": "disabled"}):
        refused = await admin.send("PATCH", mine, change)
        assert (refused.status, refused.code) == (409, "last_admin")
    assert (await admin.send("PATCH", mine, {})).status == 400
    assert (await admin.send("PATCH", mine, {"user": "team-a"})).json["user"] == "team-a"
    assert (await admin.send("PATCH", mine, {"user": None})).json["user"] is None
    assert (await admin.send("PATCH", "/people/per_x", {"role": "member"})).status == 404
    ben = await signed_in(rig, "ben")
    assert (await ben.send("PATCH", mine, {"role": "member"})).json["role"] == "member"
    assert (await admin.get("/people")).status == 401  # the session went with the role


async def test_a_token_that_a_token_made_ends_with_the_person_too(rig: Rig) -> None:
    anna, ben = await signed_in(rig), await signed_in(rig, "ben")
    script, json = Browser(rig), ("content-type", "application/json")
    first = ("authorization", f"Bearer {(await ben.post('/tokens', {'name': 'one'})).json['token']}")
    made = await script.send("POST", "/tokens", {"name": "two"}, first, json, ours=False)
    second = ("authorization", f"Bearer {made.json['token']}")
    assert (made.json["owner"], (await script.send("GET", "/people", None, second)).status) == ("ben", 200)
    for status in ("disabled", "active"):  # and enabling somebody again brings nothing back
        assert (await anna.send("PATCH", "/people/ben", {"status": status})).status == 200
        assert [(await script.send("GET", "/people", None, each)).status for each in (first, second)] == [401, 401]
    assert (await anna.get("/tokens")).json["data"] == []


async def test_a_token_is_made_used_listed_and_revoked(rig: Rig) -> None:
    admin = await signed_in(rig)
    made = (await admin.post("/tokens", {"name": "ci"})).json
    script, bearer = Browser(rig), ("authorization", f"Bearer {made['token']}")
    assert (await script.send("POST", "/people", {"name": "ben", "role": "member"}, bearer, ours=False)).status == 415
    json = ("content-type", "application/json")
    assert (
        await script.send("POST", "/people", {"name": "ben", "role": "member"}, bearer, json, ours=False)
    ).status == 201
    (listed,) = (await admin.get("/tokens")).json["data"]
    assert (listed["name"], listed["owner"], listed["last_used"] is None) == ("ci", "anna", False)
    assert made["token"] not in str(listed)
    assert (await admin.send("DELETE", f"/tokens/{made['id']}")).status == 204
    assert (await admin.send("DELETE", f"/tokens/{made['id']}")).status == 404
    gone = await script.send("GET", "/people", None, bearer)
    assert (gone.status, gone.code) == (401, "not_signed_in")
    actors = await rig.ledger.ask(lambda raw: raw.execute("SELECT DISTINCT actor FROM audit").fetchall())
    assert {("anna",), ("token ci",)} <= set(actors)
