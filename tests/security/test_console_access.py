"""Who may do what at the console, and from where: made from the table of routes, so a new one is in it at once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from streamrouter.config.schema import ServerConfig
from streamrouter.web.console.route import Route
from streamrouter.web.console.table import ROUTES
from tests.ledger.books import opened
from tests.support.asgi import CONFIG, Answer, Rig, ask, running
from tests.support.console import Browser, person, signed_in, token
from tests.support.server import Server

# Who may without being an admin. A route that stands in neither list is for admins alone.
ANYONE = {
    "GET /session",
    "POST /setup",
    "POST /invitation",
    "POST /join",
    "POST /sign-in",
    "POST /sign-out",
}
MEMBER = {"POST /password", "GET /sessions", "DELETE /sessions/{id}"}
MEMBERS_OWN = "/me"  # and what begins so

pytestmark = pytest.mark.asyncio(loop_scope="module")


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


class Cast:
    """Everybody who might ask."""

    def __init__(self, rig: Rig, admin: Browser, member: Browser, bearer: tuple[str, str]) -> None:
        self._browsers = {"nobody": Browser(rig), "stranger": Browser(rig, "x" * 43), "admin": admin, "member": member}
        self._bearers = {"token": bearer, "client key": ("authorization", f"Bearer {rig.secret}")}

    async def asks(self, who: str, route: Route) -> Answer:
        """A request that gets as far as its query, which no route takes; so nothing is carried out."""
        path = "/".join("x" if step.startswith("{") else step for step in route.path.split("/"))
        body: dict[str, str] | None = None if route.body is None else {}
        headers = [self._bearers[who]] if who in self._bearers else []
        browser = self._browsers.get(who, self._browsers["nobody"])
        return await browser.send(route.method, path, body, *headers, query="no-such-parameter=1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with running(tmp_path_factory.mktemp("table")) as rig:
        admin, member = await signed_in(rig), await signed_in(rig, "ben", "member", "ben")
        yield Cast(rig, admin, member, await token(rig))


@pytest.mark.parametrize("who", ["nobody", "stranger", "client key", "member", "admin", "token"])
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_s31_who_may(cast: Cast, route: Route, who: str) -> None:
    answer = await cast.asks(who, route)
    if who == "client key" or (who in ("nobody", "stranger") and route.role != "anyone"):
        assert (answer.status, answer.code) == (401, "not_signed_in")
    elif who == "member" and route.role == "admin":
        assert (answer.status, answer.code) == (403, "forbidden")
    else:
        assert (answer.status, answer.json["error"]["param"]) == (400, "no-such-parameter")
    assert answer.headers["cache-control"] == "no-store"
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_s31_a_route_is_for_admins_unless_it_is_listed_here() -> None:
    open_ones = {name_of(route) for route in ROUTES if route.role == "anyone"}
    own = {
        name_of(route)
        for route in ROUTES
        if route.role == "member" and not f"{route.path}/".startswith(f"{MEMBERS_OWN}/")
    }
    assert (open_ones, own) == (ANYONE, MEMBER)


async def test_s27_no_origin_may_read_it_whatever_cors_allows(tmp_path: Path) -> None:
    config = replace(CONFIG, server=ServerConfig(cors_origins=["*"]))
    async with running(tmp_path, config=config) as rig:
        origin = ("origin", "https://evil.example")
        for method in ("GET", "OPTIONS", "POST"):
            for path in ("/admin/api/session", "/admin/api/people", "/console", "/openapi.json"):
                answer = await ask(rig.app.asgi, method, path, [origin, ("access-control-request-method", "POST")])
                assert not any(name.startswith("access-control") for name in answer.headers), (method, path)


async def test_s39_without_an_admin_only_this_machine_can_reach_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamrouter", "serve", "--host", "0.0.0.0", "--port", "0"]
    server = await asyncio.create_subprocess_exec(
        *command,
        "--ledger",
        str(tmp_path / "l.db"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(server.communicate(), 20)
    assert (server.returncode, out) == (1, b"")
    assert b"no admin yet" in err and b"streamrouter admin create" in err


async def test_s39_with_an_admin_it_may_listen_anywhere(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"STREAMROUTER_HOST": "0.0.0.0"})
    async with opened(str(server.ledger)) as ledger:
        await person(ledger)
    await asyncio.to_thread(server.start)
    try:
        status, body = await asyncio.to_thread(server.get, "/admin/api/session")
        assert (status, server.setup) == (200, "")
        assert json.loads(body) == {"setup": False, "person": None, "version": None}
    finally:
        assert await asyncio.to_thread(server.terminate) == 0
