"""The console under attack: guessing, forgery, fixation, stale sessions, mass assignment (S8-S14, S27-S31)."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from streamrouter.config.schema import ConsoleConfig
from streamrouter.ledger import people
from streamrouter.policy.lifetimes import ABSOLUTE_NS, IDLE_NS, LINK_NS
from streamrouter.web.console.origin import COOKIE
from streamrouter.web.console.table import ROUTES
from tests.support.asgi import CONFIG, Answer, Rig, running
from tests.support.console import HOST, PASSWORD, Browser, person, signed_in
from tests.support.server import Server

OURS = ("origin", f"http://{HOST}")
JSON = ("content-type", "application/json")
UNSAFE = [route for route in ROUTES if route.method != "GET"]


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


def seconds(ns: int) -> float:
    return ns / 1e9


# -- S12: guessing a password ---------------------------------------------------------------------------------------


async def tries(rig: Rig, name: str, password: str = "wrong", client: str = "127.0.0.1") -> Answer:
    return await Browser(rig, client=client).post("/sign-in", {"name": name, "password": password})


async def test_guessing_costs_more_time_with_every_try(rig: Rig) -> None:
    await person(rig.ledger)
    assert [(await tries(rig, "anna")).status for _ in range(3)] == [401] * 3
    waits = []
    for _ in range(5):
        refused = await tries(rig, "anna")
        assert (refused.status, refused.code) == (429, "too_many_attempts")
        waits.append(int(refused.headers["retry-after"]))
        rig.clock.pass_s(waits[-1])
        assert (await tries(rig, "anna")).status == 401
    assert waits == [1, 2, 4, 8, 16]
    assert (await tries(rig, "anna", PASSWORD)).status == 429  # the right one is not heard either
    rig.clock.pass_s(32)
    assert (await tries(rig, "anna", PASSWORD)).status == 200
    assert (await tries(rig, "anna")).status == 401  # and the slate is clean


async def test_a_name_that_does_not_exist_is_answered_like_one_that_does(rig: Rig) -> None:
    """Word for word, wait for wait; and what is compared is a hash of the same parameters (web/console/door.py)."""
    await person(rig.ledger)
    _, link = await rig.ledger.act(people.invite, "carl", "member", None, None, None)
    await signed_in(rig, "dora", "member")
    await rig.ledger.act(people.change, "dora", {"status": "disabled"})
    answers = {}
    for number, name in enumerate(("anna", "nobody", "carl", "dora", "' OR 1=1 --")):
        found = [await tries(rig, name, PASSWORD if name == "dora" else "wrong", f"192.0.2.{number}") for _ in range(4)]
        for answer in found:
            answer.json["error"].pop("request_id")
        answers[name] = [(each.status, each.code, each.json["error"]["message"]) for each in found]
    assert link and len({str(answer) for answer in answers.values()}) == 1


async def test_a_hundred_guesses_at_once_are_a_hundred_guesses(rig: Rig) -> None:
    await person(rig.ledger)
    answers = await asyncio.gather(*(tries(rig, "anna", client=f"192.0.2.{n}") for n in range(100)))
    assert sorted(answer.status for answer in answers) == [401] * 3 + [429] * 97


async def test_guessing_many_names_from_one_address_is_slowed_down_too(rig: Rig) -> None:
    statuses = [(await tries(rig, f"name-{number}")).status for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await tries(rig, "name-0", client="192.0.2.1")).status == 401


async def test_an_address_is_believed_from_trusted_proxies_alone(tmp_path: Path) -> None:
    config = replace(CONFIG, console=ConsoleConfig(trusted_proxies=["10.0.0.0/8"]))
    async with running(tmp_path, config=config) as rig:

        async def knocks(peer: str, number: int) -> int:
            browser = Browser(rig, client=peer)
            forwarded = ("x-forwarded-for", f"203.0.113.{number}")
            answer = await browser.send(
                "POST", "/sign-in", {"name": f"n{number}{peer}", "password": "wrong"}, forwarded
            )
            return answer.status

        assert [await knocks("192.0.2.1", number) for number in range(12)][-1] == 429
        assert {await knocks("10.0.0.1", number) for number in range(12)} == {401}


async def test_the_old_password_cannot_be_guessed_in_a_stolen_session(rig: Rig) -> None:
    stolen = await signed_in(rig)
    guesses = [await stolen.post("/password", {"old": f"guess {n}", "new": "mine from now on"}) for n in range(5)]
    assert [guess.status for guess in guesses] == [401] * 3 + [429] * 2


# -- S28: a page of somebody else's acts through our browser --------------------------------------------------------

FORGED: dict[str, list[tuple[str, str]]] = {
    "a form": [("origin", "https://evil.example"), ("content-type", "application/x-www-form-urlencoded")],
    "a form without origin": [("content-type", "application/x-www-form-urlencoded")],
    "JSON as text": [("origin", "https://evil.example"), ("content-type", "text/plain")],
    "JSON": [("origin", "https://evil.example"), JSON],
    "a sandboxed frame": [("origin", "null"), JSON],
    "another port": [("origin", f"http://{HOST}:8080"), JSON],
    "a sister site": [("sec-fetch-site", "same-site"), JSON],
    "cross-site, whatever the origin says": [OURS, ("sec-fetch-site", "cross-site"), JSON],
    "no origin": [JSON],
}


@pytest.mark.parametrize("forgery", FORGED)
async def test_a_forged_change_is_refused(rig: Rig, forgery: str) -> None:
    admin = await signed_in(rig)
    body = b'{"name":"eve","role":"admin"}'
    refused = await admin.send("POST", "/people", body, *FORGED[forgery], ours=False)
    assert (refused.status, refused.code) == (403, "forbidden_origin")
    assert len((await admin.get("/people")).json["data"]) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_a_form_can_send_is_no_json(rig: Rig, kind: str) -> None:
    admin = await signed_in(rig)
    headers = [OURS] + ([("content-type", kind)] if kind else [])
    refused = await admin.send("POST", "/people", b'{"name":"eve","role":"admin"}', *headers, ours=False)
    assert (refused.status, refused.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("route", UNSAFE, ids=lambda route: f"{route.method} {route.path}")
async def test_every_change_asks_where_it_comes_from(rig: Rig, route: Any) -> None:
    """Signing in too: somebody else's page must not sign our browser in as somebody else."""
    path = "/".join("x" if step.startswith("{") else step for step in route.path.split("/"))
    body = None if route.body is None else b"{}"
    for headers in ([("origin", "https://evil.example"), JSON], [("sec-fetch-site", "cross-site"), JSON]):
        refused = await Browser(rig).send(route.method, path, body, *headers, ours=False)
        assert (refused.status, refused.code) == (403, "forbidden_origin")


# -- S30: sessions --------------------------------------------------------------------------------------------------


async def test_the_cookie_is_for_us_alone(rig: Rig) -> None:
    await person(rig.ledger)
    answer = await tries(rig, "anna", PASSWORD)
    name, *flags = answer.headers["set-cookie"].split("; ")
    assert set(flags) == {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"}
    assert name.startswith(f"{COOKIE}=") and len(name.partition("=")[2]) == 43  # 256 bits
    assert answer.headers["cache-control"] == "no-store"
    behind_tls = Browser(rig)
    wanted = {"name": "anna", "password": PASSWORD}
    secure = await behind_tls.send("POST", "/sign-in", wanted, ("origin", f"https://{HOST}"), JSON, ours=False)
    assert "; Secure" in secure.headers["set-cookie"]


async def test_a_planted_session_is_never_adopted(rig: Rig) -> None:
    await person(rig.ledger)
    victim = Browser(rig, "planted-by-somebody-else-0123456789abcdefghi")
    assert (await victim.post("/sign-in", {"name": "anna", "password": PASSWORD})).status == 200
    assert victim.session != "planted-by-somebody-else-0123456789abcdefghi"
    attacker = Browser(rig, "planted-by-somebody-else-0123456789abcdefghi")
    assert (await attacker.get("/people")).status == 401


async def test_signing_in_again_ends_the_session_before_it(rig: Rig) -> None:
    mine = await signed_in(rig)
    before = Browser(rig, mine.session)
    await mine.post("/sign-in", {"name": "anna", "password": PASSWORD})
    assert (await before.get("/people")).status == 401
    assert (await mine.get("/people")).status == 200


async def test_a_second_cookie_beside_ours_signs_nobody_in(rig: Rig) -> None:
    admin = await signed_in(rig)
    answer = await admin.send("GET", "/people", None, ("cookie", f"{COOKIE}=planted"))
    assert answer.status == 401


async def test_half_an_hour_of_silence_ends_a_session(rig: Rig) -> None:
    admin = await signed_in(rig)
    rig.clock.pass_s(seconds(IDLE_NS) - 1)
    assert (await admin.get("/people")).status == 200
    rig.clock.pass_s(seconds(IDLE_NS) + 1)
    assert (await admin.get("/people")).code == "not_signed_in"
    rows = await rig.ledger.ask(lambda raw: raw.execute("SELECT count(*) FROM session").fetchone())
    assert rows == (0,)


async def test_twelve_hours_end_a_session_that_is_in_use(rig: Rig) -> None:
    admin = await signed_in(rig)
    step = seconds(IDLE_NS) / 2
    for _ in range(round(seconds(ABSOLUTE_NS) / step) - 1):
        rig.clock.pass_s(step)
        assert (await admin.get("/session")).json["person"] is not None
    rig.clock.pass_s(step)
    assert (await admin.get("/people")).status == 401


async def test_a_session_outlives_a_restart_and_nothing_in_the_file_opens_one(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        session = (await signed_in(rig)).session
    async with running(tmp_path) as rig:  # again, with the same books
        assert (await Browser(rig, session).get("/people")).status == 200
        rows = await rig.ledger.ask(lambda raw: raw.execute("SELECT hex(hash), id FROM session").fetchall())
        for text in (text for row in rows for text in row):
            assert (await Browser(rig, str(text)).get("/people")).status == 401


async def test_an_admin_who_is_one_no_more_can_do_nothing(rig: Rig) -> None:
    anna, ben = await signed_in(rig), await signed_in(rig, "ben")
    made = await ben.post("/tokens", {"name": "back door"})
    (found,) = [each for each in (await anna.get("/people")).json["data"] if each["name"] == "ben"]
    assert (await anna.send("PATCH", f"/people/{found['id']}", {"status": "disabled"})).status == 200
    assert (await ben.get("/session")).json["person"] is None
    script = Browser(rig)
    assert (await script.send("GET", "/people", None, ("authorization", f"Bearer {made.json['token']}"))).status == 401
    assert (await tries(rig, "ben", PASSWORD)).code == "wrong_password"


# -- links ----------------------------------------------------------------------------------------------------------


async def test_a_set_up_link_is_good_for_half_an_hour(rig: Rig) -> None:
    link = await rig.ledger.act(people.new_setup)
    wanted = {"token": link, "name": "anna", "password": PASSWORD}
    rig.clock.pass_s(seconds(LINK_NS["setup"]))
    late = await Browser(rig).post("/setup", wanted)
    assert (late.status, late.code) == (410, "link_expired")
    assert (await Browser(rig).get("/session")).json["setup"] is True


@pytest.mark.parametrize("path", ["/setup", "/join", "/invitation"])
async def test_what_is_no_link_is_answered_like_one_that_was_used(rig: Rig, path: str) -> None:
    more = {"/setup": {"name": "a", "password": PASSWORD}, "/join": {"password": PASSWORD}, "/invitation": {}}[path]
    for text in ("x", "' OR 1=1 --", "x" * 256, "\x00"):
        answer = await Browser(rig).post(path, {"token": text, **more})
        assert (answer.status, answer.code) == (410, "link_expired")


async def test_a_hundred_uses_of_a_link_at_once_are_one(rig: Rig) -> None:
    link = await rig.ledger.act(people.new_setup)
    asked = [
        Browser(rig).post("/setup", {"token": link, "name": f"admin-{n}", "password": PASSWORD}) for n in range(30)
    ]
    statuses = sorted([answer.status for answer in await asyncio.gather(*asked)])
    assert statuses == [201] + [410] * 29
    assert len(await rig.ledger.ask(people.everybody)) == 1


# -- S14: nothing is assigned by accident ---------------------------------------------------------------------------


@pytest.mark.parametrize("route", [route for route in UNSAFE if route.body], ids=lambda route: route.path)
async def test_a_field_that_is_not_known_is_refused_and_named(rig: Rig, route: Any) -> None:
    admin = await signed_in(rig)
    path = "/".join("x" if step.startswith("{") else step for step in route.path.split("/"))
    for extra in ("id", "password_hash", "is_admin", "__proto__"):
        refused = await admin.send(route.method, path, {extra: "x"})
        assert (refused.status, refused.code) == (400, "invalid_value")


async def test_a_member_cannot_make_themselves_an_admin(rig: Rig) -> None:
    member = await signed_in(rig, "ben", "member")
    wanted = {"old": PASSWORD, "new": PASSWORD + "2", "role": "admin"}
    assert (await member.post("/password", wanted)).json["error"]["param"] == "role"
    assert (await member.get("/session")).json["person"]["role"] == "member"


# -- S8, S10: secrets stay secret -----------------------------------------------------------------------------------


async def test_no_secret_is_in_the_books_the_log_or_a_later_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        setup = await rig.ledger.act(people.new_setup)
        admin = Browser(rig)
        await admin.post("/setup", {"token": setup, "name": "anna", "password": PASSWORD})
        invited = (await admin.post("/people", {"name": "ben", "role": "member"})).json
        token = (await admin.post("/tokens", {"name": "ci"})).json["token"]
        await tries(rig, "my-password-by-mistake", PASSWORD)
        await tries(rig, "anna", "a-wrong-password")
        secrets = [setup, PASSWORD, "a-wrong-password", "my-password-by-mistake", invited["link"][-43:], token]
        secrets.append(admin.session)
        listed = [(await admin.get(path)).body.decode() for path in ("/people", "/tokens", "/sessions", "/session")]
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"sign_in_failed" in kept and b"signed_in" in kept
    found = [secret for secret in secrets if secret.encode() in kept or any(secret in text for text in listed)]
    assert found == []


# -- a real server, from the first start ----------------------------------------------------------------------------


def call(server: Server, method: str, path: str, body: Any = None, cookie: str = "") -> tuple[int, Any, str]:
    """Status, JSON and the new cookie."""
    headers = {"Origin": server.root, "Content-Type": "application/json", "Cookie": cookie}
    raw = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.root}/admin/api{path}", raw, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text, found = response.read(), response.headers.get("set-cookie") or ""
            return response.status, json.loads(text) if text else None, found.partition(";")[0]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), ""


def test_from_the_banner_to_a_member(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        assert server.setup.startswith(f"{server.root}/console/setup#t=")
        link = server.setup.partition("#t=")[2]
        wanted = {"token": link, "name": "anna", "password": PASSWORD}
        status, made, cookie = call(server, "POST", "/setup", wanted)
        assert (status, made["person"]["name"]) == (201, "anna")
        assert call(server, "POST", "/setup", wanted)[0] == 410
        status, signed, cookie = call(server, "POST", "/sign-in", {"name": "anna", "password": PASSWORD}, cookie)
        assert (status, signed["person"]["role"]) == (200, "admin")
        status, invited, _ = call(server, "POST", "/people", {"name": "ben", "role": "member", "user": "ben"}, cookie)
        assert status == 201
        joined = {"token": invited["link"].partition("#t=")[2], "password": PASSWORD}
        status, made, theirs = call(server, "POST", "/join", joined)
        assert (status, made["person"]["user"]) == (201, "ben")
        assert call(server, "GET", "/people", None, theirs)[0] == 403
        assert call(server, "GET", "/people", None, cookie)[0] == 200
        assert server.terminate() == 0
        kept = server.log.read_text() + server.ledger.read_bytes().decode("latin-1")
        assert [secret for secret in (link, joined["token"], PASSWORD, cookie[-43:]) if secret in kept] == []
    finally:
        server.terminate()
