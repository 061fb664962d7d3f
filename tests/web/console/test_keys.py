from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from streamrouter.web.console.answers import books
from tests.support.admin_api import AdminApi, admin_api


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def works(api: AdminApi, secret: str) -> int:
    return (await api.rig.get("/v1/models", secret=secret)).status


async def test_a_key_is_made_once_and_its_secret_shown_once(api: AdminApi) -> None:
    made = await api.post("/keys", {"user": "team-b", "models": ["test"], "concurrency": 2}, status=201, ref="once")
    key = msgspec.convert(made, books.MadeKey)
    assert key.key is not None
    assert (key.user, key.models, key.concurrency, key.repeated) == ("team-b", ["test"], 2, False)
    assert await works(api, key.key) == 200
    again = await api.post("/keys", {"user": "team-b", "models": ["test"], "concurrency": 2}, status=201, ref="once")
    assert (again["id"], again["key"], again["repeated"]) == (key.id, None, True)
    other = await api.call("POST", "/keys", {"user": "team-b"}, ref="once")
    assert (other.status, "was used for another key" in other.json["error"]["message"]) == (400, True)
    for path in ("/keys", "/users/team-b/keys", "/audit"):
        assert key.key not in (await api.call("GET", path)).body.decode()


async def test_keys_are_listed(api: AdminApi) -> None:
    everybody = await api.read(books.Keys, "/keys")
    assert {key.user for key in everybody.data} == {"team-a", "team-b"}  # type: ignore[attr-defined]
    own = await api.read(books.Keys, "/users/team-a/keys")
    assert [key.id for key in own.data] == [api.own_key]  # type: ignore[attr-defined]
    assert (await api.call("GET", "/users/nobody/keys")).status == 404


async def test_a_keys_list_and_cap_are_changed(api: AdminApi) -> None:
    path = f"/keys/{api.own_key}"
    changed = await api.call("PATCH", path, {"models": ["org/other:1"], "concurrency": 3})
    key = msgspec.convert(changed.json, books.Key)
    assert (key.models, key.concurrency) == (["org/other:1"], 3)
    listed = await api.rig.get("/v1/models")
    assert [model["id"] for model in listed.json["data"]] == ["org/other:1"]
    changed = await api.call("PATCH", path, {"models": None})
    assert (changed.json["models"], changed.json["concurrency"]) == (None, 3)
    for body in ({}, {"models": ["tset"]}, {"concurrency": 0}, {"status": "active"}):
        assert (await api.call("PATCH", path, body)).status == 400
    assert (await api.call("PATCH", "/keys/key_none", {"concurrency": 1})).status == 404


async def test_a_rotated_key_has_its_grace(api: AdminApi) -> None:
    new = await api.post(f"/keys/{api.own_key}/rotate", {"grace_s": 60})
    key = msgspec.convert(new, books.NewSecret)
    assert [await works(api, secret) for secret in (api.rig.secret, key.key)] == [200, 200]
    api.rig.clock.pass_s(61)
    assert [await works(api, secret) for secret in (api.rig.secret, key.key)] == [401, 200]


async def test_a_revoked_key_is_refused_at_once(api: AdminApi) -> None:
    gone = msgspec.convert(await api.post(f"/keys/{api.own_key}/revoke", {"now": True}), books.RevokedKey)
    assert (gone.status, gone.streams_stopped) == ("revoked", 0)
    assert await works(api, api.rig.secret) == 401
    assert (await api.call("PATCH", f"/keys/{api.own_key}", {"concurrency": 1})).status == 400
    assert (await api.call("POST", f"/keys/{api.own_key}/rotate", {})).status == 400


@pytest.mark.parametrize("act", ["rotate", "revoke"])
async def test_a_key_that_is_none(api: AdminApi, act: str) -> None:
    assert (await api.call("POST", f"/keys/key_none/{act}", {})).status == 404
