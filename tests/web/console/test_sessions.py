"""Signing in and out as a browser sees it; what an attacker sees is in tests/security/test_console.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streamrouter import __version__
from streamrouter.ledger import people
from streamrouter.policy.passwords import outdated
from tests.support.asgi import FAST_HASH, Rig, running
from tests.support.console import PASSWORD, Browser, person, signed_in, token

NEW = "another horse entirely"


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


async def test_from_the_link_to_the_first_admin(rig: Rig) -> None:
    browser = Browser(rig)
    assert (await browser.get("/session")).json == {"setup": True, "person": None, "version": None}
    link = await rig.ledger.act(people.new_setup)
    seen = await browser.post("/invitation", {"token": link})
    assert (seen.json["purpose"], seen.json["role"], seen.json["expires"][-1]) == ("setup", "admin", "Z")
    made = await browser.post("/setup", {"token": link, "name": "anna", "password": PASSWORD})
    assert made.status == 201
    assert {**made.json["person"], "id": ""} == {"id": "", "name": "anna", "role": "admin", "user": None}
    now = (await browser.get("/session")).json
    assert now == {"setup": False, "person": made.json["person"], "version": __version__}
    assert (await browser.get("/people")).status == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [({"password": "short"}, "password"), ({"password": "anna"}, "password"), ({"name": "<b>"}, None)],
)
async def test_what_the_first_admin_cannot_be(rig: Rig, change: dict[str, str], param: str | None) -> None:
    link = await rig.ledger.act(people.new_setup)
    wanted = {"token": link, "name": "anna", "password": PASSWORD}
    refused = await Browser(rig).post("/setup", wanted | change)
    assert (refused.status, refused.json["error"]["param"]) == (400, param)
    assert (await Browser(rig).post("/setup", wanted)).status == 201  # the link was not used up by that


async def test_from_an_invitation_to_a_password_to_another_one(rig: Rig) -> None:
    admin = await signed_in(rig)
    invited = (await admin.post("/people", {"name": "ben", "role": "member", "user": "team-a"})).json
    link = invited["link"].removeprefix("/console/join#t=")
    ben = Browser(rig)
    seen = (await ben.post("/invitation", {"token": link})).json
    assert seen == {"name": "ben", "role": "member", "purpose": "invite", "expires": invited["expires"]}
    refused = await ben.post("/join", {"token": link, "password": "ben"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "password")
    joined = await ben.post("/join", {"token": link, "password": PASSWORD})
    assert (joined.status, joined.json["person"]["user"]) == (201, "team-a")
    assert (await ben.post("/join", {"token": link, "password": PASSWORD})).code == "link_expired"

    elsewhere = Browser(rig)
    assert (await elsewhere.post("/sign-in", {"name": "Ben", "password": PASSWORD})).status == 200
    wrong = await ben.post("/password", {"old": NEW, "new": NEW})
    assert (wrong.status, wrong.code, wrong.json["error"]["param"]) == (401, "wrong_password", "old")
    weak = await ben.post("/password", {"old": PASSWORD, "new": "short"})
    assert (weak.status, weak.json["error"]["param"]) == (400, "new")
    before = ben.session
    assert (await ben.post("/password", {"old": PASSWORD, "new": NEW})).status == 204
    assert ben.session != before
    assert (await ben.get("/session")).json["person"]["name"] == "ben"
    assert (await elsewhere.get("/session")).json["person"] is None
    assert (await elsewhere.post("/sign-in", {"name": "ben", "password": PASSWORD})).code == "wrong_password"
    assert (await elsewhere.post("/sign-in", {"name": "ben", "password": NEW})).status == 200


async def test_an_old_hash_is_renewed_when_the_password_is_known(rig: Rig) -> None:
    anna = await person(rig.ledger)
    assert anna.password is not None and outdated(anna.password, FAST_HASH)
    assert (await Browser(rig).post("/sign-in", {"name": "anna", "password": PASSWORD})).status == 200
    now = await rig.ledger.ask(lambda raw: people.by_id(raw, "anna"))
    assert now.password is not None and not outdated(now.password, FAST_HASH)
    assert (await Browser(rig).post("/sign-in", {"name": "anna", "password": PASSWORD})).status == 200


async def test_signing_out_ends_it_here_and_in_the_books(rig: Rig) -> None:
    anna = await signed_in(rig)
    stolen = Browser(rig, anna.session)
    out = await anna.post("/sign-out", {})
    assert (out.status, out.body, anna.session) == (204, b"", "")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert (await stolen.get("/people")).status == 401
    assert (await anna.post("/sign-out", {})).status == 204
    rows = await rig.ledger.ask(lambda raw: raw.execute("SELECT actor, action FROM audit ORDER BY number").fetchall())
    assert rows[-1] == ("anna", "session_ended")


async def test_ones_own_sessions_are_listed_and_ended(rig: Rig) -> None:
    anna = await signed_in(rig)
    other = Browser(rig, client="192.0.2.7")
    signed = await other.send(
        "POST", "/sign-in", {"name": "anna", "password": PASSWORD}, ("user-agent", "Web\tBrowser/1.0 \xe9")
    )
    assert signed.status == 200
    listed = (await anna.get("/sessions")).json["data"]
    assert [each["current"] for each in listed if each["client"] == "a test"] == [True]
    (theirs,) = [each for each in listed if not each["current"]]
    assert theirs["client"].startswith("192.0.2.7 WebBrowser/1.0")
    ben = await signed_in(rig, "ben", "member")
    assert (await ben.send("DELETE", f"/sessions/{theirs['id']}")).status == 404
    assert (await anna.send("DELETE", f"/sessions/{theirs['id']}")).status == 204
    assert (await other.get("/people")).status == 401
    assert (await anna.send("DELETE", f"/sessions/{theirs['id']}")).status == 404


async def test_a_token_has_no_sessions_and_no_password(rig: Rig) -> None:
    script, bearer = Browser(rig), await token(rig)
    assert (await script.send("GET", "/session", None, bearer)).json["person"]["name"] == "ci"
    assert (await script.send("GET", "/sessions", None, bearer)).json["data"] == []
    assert (await script.send("DELETE", "/sessions/ses_1", None, bearer)).status == 404
    refused = await script.send("POST", "/password", {"old": PASSWORD, "new": NEW}, bearer)
    assert (refused.status, refused.code) == (403, "forbidden")
