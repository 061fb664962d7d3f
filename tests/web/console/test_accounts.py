from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from streamrouter.web.console.answers import books
from streamrouter.web.console.openapi import Error
from tests.support.admin_api import AdminApi, admin_api


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path) as made:
        yield made


async def test_users_with_their_day(api: AdminApi) -> None:
    await api.spend(2)
    found = await api.read(books.Users, "/users")
    assert [(user.user, user.keys, user.usage.input.used) for user in found.data] == [  # type: ignore[attr-defined]
        ("team-a", 1, 14),
        ("team-b", 1, 0),
    ]
    assert await api.read(books.User, "/users/team-a") == found.data[0]  # type: ignore[attr-defined]


async def test_a_user_is_made_changed_disabled_and_enabled(api: AdminApi) -> None:
    made = await api.post("/users", {"user": "new", "daily_input": 5}, status=201)
    assert (made["user"], made["daily_input"], made["daily_output"]) == ("new", 5, None)
    changed = await api.call("PATCH", "/users/new", {"daily_input": None, "models": ["test"]})
    account = msgspec.convert(changed.json, books.Account)
    assert (account.daily_input, account.models) == (None, ["test"])
    assert (await api.post("/users/new/disable"))["status"] == "disabled"
    assert (await api.post("/users/new/enable"))["status"] == "active"
    lines = (await api.get("/audit"))["data"]
    assert [(line["actor"], line["action"]) for line in lines[:4]] == [
        ("token script", "account_status"),
        ("token script", "account_status"),
        ("token script", "account_set"),
        ("token script", "account_created"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/users", {"user": "team-a"}, 400),
        ("POST", "/users", {"user": "x", "credited": 10}, 400),
        ("POST", "/users", {"user": "x", "daily_input": "7"}, 400),
        ("POST", "/users", {}, 400),
        ("POST", "/users", {"user": "x", "models": ["tset"]}, 400),
        ("PATCH", "/users/team-a", {}, 400),
        ("PATCH", "/users/team-a", {"user": "other"}, 400),
        ("PATCH", "/users/nobody", {"daily_input": 1}, 404),
        ("GET", "/users/nobody", None, 404),
        ("POST", "/users/nobody/disable", {}, 404),
        ("POST", "/users/team-a/disable", {"now": True}, 400),
        ("DELETE", "/users/team-a", None, 405),
    ],
)
async def test_what_is_refused(api: AdminApi, method: str, path: str, body: object, status: int) -> None:
    answer = await api.call(method, path, body)
    assert answer.status == status
    msgspec.convert(answer.json, Error)
