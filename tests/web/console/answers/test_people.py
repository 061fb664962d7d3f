"""Real answers fit the Structs that ``/openapi.json`` is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streamrouter.ledger import people
from streamrouter.web.console.route import Route
from streamrouter.web.console.table import ROUTES
from tests.support.asgi import Answer, running
from tests.support.console import PASSWORD, Browser


def row(method: str, path: str) -> Route:
    return next(route for route in ROUTES if (route.method, route.path) == (method, path))


def fits(answer: Answer, method: str, path: str) -> Any:
    """The answer, if it has exactly the fields and the status that its row promises."""
    route = row(method, path)
    assert answer.status == route.status
    msgspec.convert(answer.json, route.answer)
    return answer.json


async def test_every_answer_about_people(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        link, browser = await rig.ledger.act(people.new_setup), Browser(rig)
        fits(await browser.get("/session"), "GET", "/session")
        fits(await browser.post("/invitation", {"token": link}), "POST", "/invitation")
        wanted = {"token": link, "name": "anna", "password": PASSWORD}
        fits(await browser.post("/setup", wanted), "POST", "/setup")
        fits(await browser.get("/session"), "GET", "/session")
        fits(await browser.post("/sign-in", {"name": "anna", "password": PASSWORD}), "POST", "/sign-in")
        once = ("idempotency-key", "ben")
        invited = fits(await browser.post("/people", {"name": "ben", "role": "member"}, once), "POST", "/people")
        fits(await browser.post("/people", {"name": "ben", "role": "member"}, once), "POST", "/people")
        ben = f"/people/{invited['person']['id']}"
        fits(await browser.post(f"{ben}/invitation", {}), "POST", "/people/{id}/invitation")
        fits(await browser.send("PATCH", ben, {"role": "admin"}), "PATCH", "/people/{id}")
        fits(await browser.get("/people"), "GET", "/people")
        fits(await browser.post("/tokens", {"name": "ci"}), "POST", "/tokens")
        fits(await browser.get("/tokens"), "GET", "/tokens")
        assert len(fits(await browser.get("/sessions"), "GET", "/sessions")["data"]) == 1
        link = (await browser.post(f"{ben}/invitation", {})).json["link"].partition("=")[2]
        fits(await Browser(rig).post("/join", {"token": link, "password": PASSWORD}), "POST", "/join")
