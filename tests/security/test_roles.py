"""Who may do what: every route of the admin API × everybody who may ask (S31), made from the table of routes.

A route that is not in ``EXPECTED`` fails; so does a row of it without a route. Each cell asks the route with values
that exist for whoever may use them, and looks at the status: 401 and 403 come before anything is read, so a cell that
is let in may still end in 400 or 404 for what it asked, never in 401, 403 or 500.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.web.console.route import Route
from streamrouter.web.console.table import ROUTES
from tests.support.admin_api import AdminApi, admin_api

WHO = ("nobody", "client key", "revoked key", "member", "admin", "token")
# What each role gives to those in WHO, in that order; a client's key is no admin token, whatever it is a key for.
ANYONE = (0, 401, 401, 0, 0, 0)
MEMBER = (401, 401, 401, 0, 0, 0)
ADMIN = (401, 401, 401, 403, 0, 0)
EXPECTED = {
    "GET /session": ANYONE,
    "POST /setup": ANYONE,
    "POST /invitation": ANYONE,
    "POST /join": ANYONE,
    "POST /sign-in": ANYONE,
    "POST /sign-out": ANYONE,
    "POST /password": MEMBER,
    "GET /sessions": MEMBER,
    "DELETE /sessions/{id}": MEMBER,
    "GET /people": ADMIN,
    "POST /people": ADMIN,
    "PATCH /people/{id}": ADMIN,
    "POST /people/{id}/invitation": ADMIN,
    "GET /tokens": ADMIN,
    "POST /tokens": ADMIN,
    "DELETE /tokens/{id}": ADMIN,
    "GET /users": ADMIN,
    "POST /users": ADMIN,
    "GET /users/{user}": ADMIN,
    "PATCH /users/{user}": ADMIN,
    "POST /users/{user}/disable": ADMIN,
    "POST /users/{user}/enable": ADMIN,
    "GET /keys": ADMIN,
    "GET /users/{user}/keys": ADMIN,
    "POST /keys": ADMIN,
    "PATCH /keys/{id}": ADMIN,
    "POST /keys/{id}/rotate": ADMIN,
    "POST /keys/{id}/revoke": ADMIN,
    "POST /users/{user}/topups": ADMIN,
    "POST /users/{user}/refunds": ADMIN,
    "POST /users/{user}/adjustments": ADMIN,
    "GET /users/{user}/entries": ADMIN,
    "GET /entries": ADMIN,
    "GET /requests": ADMIN,
    "GET /requests/{id}": ADMIN,
    "GET /usage": ADMIN,
    "GET /streams": ADMIN,
    "POST /streams/{id}/stop": ADMIN,
    "GET /models": ADMIN,
    "GET /upstreams": ADMIN,
    "POST /upstreams/{name}/test": ADMIN,
    "GET /series": ADMIN,
    "GET /live": ADMIN,
    "GET /config": ADMIN,
    "GET /audit": ADMIN,
    "GET /ledger": ADMIN,
    "GET /me": MEMBER,
    "POST /me/keys": MEMBER,
    "POST /me/keys/{id}/rotate": MEMBER,
    "POST /me/keys/{id}/revoke": MEMBER,
    "GET /me/requests": MEMBER,
    "GET /me/requests/{id}": MEMBER,
    "GET /me/usage": MEMBER,
    "GET /me/entries": MEMBER,
}
REFUSED = {401, 403, 500, 501, 502}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AdminApi]:
    folder: Path = tmp_path_factory.mktemp("roles")
    async with admin_api(folder) as made:
        revoked, secret = await made.rig.ledger.create_key("team-a", "main", "sk-", None, None)
        await made.rig.ledger.revoke_key(revoked.id)
        made.headers["client key"] = [("authorization", f"Bearer {made.rig.secret}")]
        made.headers["revoked key"] = [("authorization", f"Bearer {secret}")]
        made.rig.app.draining = True  # the live feed would go on; a 503 says as well that it was let in
        yield made


def test_every_route_has_its_row() -> None:
    assert sorted(EXPECTED) == sorted(name_of(route) for route in ROUTES)


def test_the_rows_are_the_tables_roles() -> None:
    rows = {"anyone": ANYONE, "member": MEMBER, "admin": ADMIN}
    assert [name_of(route) for route in ROUTES if EXPECTED.get(name_of(route)) != rows[route.role]] == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_a_cell(api: AdminApi, route: Route, who: str) -> None:
    expected = EXPECTED[name_of(route)][WHO.index(who)]
    path = route.path.replace("{user}", "no-user").replace("{id}", "no-id").replace("{name}", "no-name")
    body: Any = None if route.body is None else {"surprise": 1}
    answer = await api.call(route.method, path, body, who=who)
    if expected:
        assert answer.status == expected
        assert answer.code == {401: "not_signed_in", 403: "forbidden"}[expected]
    else:
        assert answer.status not in REFUSED, answer.body
        if body is not None:
            assert answer.status in (400, 404), "a field that it does not know was taken"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", [route for route in ROUTES if route.method != "GET"], ids=name_of)
async def test_a_session_changes_nothing_from_another_page(api: AdminApi, route: Route) -> None:
    """A foreign Origin is refused before anything else, whoever is signed in."""
    path = route.path.replace("{user}", "team-a").replace("{id}", api.own_key).replace("{name}", "up")
    api.headers["elsewhere"] = [pair for pair in api.headers["admin"] if pair[0] != "origin"]
    api.headers["elsewhere"] += [("origin", "http://elsewhere"), ("sec-fetch-site", "cross-site")]
    answer = await api.call(route.method, path, None if route.body is None else {}, who="elsewhere")
    assert (answer.status, answer.code) == (403, "forbidden_origin")
