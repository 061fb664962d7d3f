"""The verbs about people: what they take, what they tell, and in whose name they are written down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streamrouter.admin.desk import AdminError, Desk
from streamrouter.admin.verbs import perform
from streamrouter.config.schema import Config, DefaultsConfig
from streamrouter.policy import passwords
from tests.ledger.books import opened

PASSWORD = "correct horse battery"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(str(tmp_path / "l.db")) as ledger:
        yield Desk(ledger, Config(defaults=DefaultsConfig(daily_input=7)), actor="anna")


async def refused(desk: Desk, verb: str, **args: object) -> str:
    with pytest.raises(AdminError) as error:
        await perform(desk, verb, args)
    return error.value.code


async def test_an_admin_can_sign_in_at_once(desk: Desk) -> None:
    made = await perform(desk, "admin.create", {"name": "anna", "password": PASSWORD})
    assert (made["role"], made["status"], made["invited_until"]) == ("admin", "active", None)
    (kept,) = await desk.ledger.ask(lambda raw: raw.execute("SELECT password FROM person").fetchone())
    assert passwords.verify(PASSWORD, kept) and not passwords.outdated(kept)
    assert await refused(desk, "admin.create", name="ben", password="short") == "invalid_value"
    assert await refused(desk, "admin.create", name="ben", password="x" * 1025) == "invalid_arguments"


async def test_a_members_account_is_made_with_the_default_caps(desk: Desk) -> None:
    made = await perform(desk, "person.create", {"name": "ben", "user": "team"})
    assert made["link"].startswith("/console/join#t=") and made["person"]["status"] == "invited"
    (account,) = await desk.ledger.accounts()
    assert (account.name, account.daily_input) == ("team", 7)
    assert await refused(desk, "person.create", name="ben", user="other") == "invalid_value"
    assert len(await desk.ledger.accounts()) == 1  # all or nothing
    assert await refused(desk, "person.create", name="eve", role="admin", user="other") == "not_found"
    assert await refused(desk, "person.create", name="eve", ref="ä") == "invalid_value"
    assert await refused(desk, "person.create", name="eve", password="x") == "invalid_arguments"


async def test_people_are_listed_changed_and_invited_again(desk: Desk) -> None:
    ben = (await perform(desk, "person.create", {"name": "ben"}))["person"]
    assert await perform(desk, "person.list", {}) == [ben]
    assert (await perform(desk, "person.set", {"id": "ben", "status": "disabled"}))["status"] == "disabled"
    assert await refused(desk, "person.invite", id=ben["id"]) == "invalid_value"
    assert (await perform(desk, "person.set", {"id": "ben", "status": "active"}))["status"] == "invited"
    assert (await perform(desk, "person.invite", {"id": ben["id"]}))["person"]["name"] == "ben"
    assert await refused(desk, "person.set", id="ben") == "invalid_value"
    assert await refused(desk, "person.set", id="nobody", role="admin") == "not_found"


async def test_the_last_admin_has_a_code_of_its_own(desk: Desk) -> None:
    await perform(desk, "admin.create", {"name": "anna", "password": PASSWORD})
    assert await refused(desk, "person.set", id="anna", role="member") == "last_admin"


async def test_tokens(desk: Desk) -> None:
    made = await perform(desk, "token.create", {"name": "ci", "ref": "r"})
    again = await perform(desk, "token.create", {"name": "ci", "ref": "r"})
    assert (again["id"], again["token"], again["repeated"]) == (made["id"], None, True)
    listed = await perform(desk, "token.list", {})
    assert [each["id"] for each in listed] == [made["id"]] and "token" not in listed[0]
    assert await perform(desk, "token.revoke", {"id": made["id"]}) == {"id": made["id"], "revoked": True}
    assert await refused(desk, "token.revoke", id=made["id"]) == "not_found"


async def test_every_change_names_its_actor(desk: Desk) -> None:
    await perform(desk, "person.create", {"name": "ben", "user": "team"})
    await perform(desk, "person.set", {"id": "ben", "role": "admin"})
    await perform(desk, "token.create", {"name": "ci"})
    rows = await desk.ledger.ask(lambda raw: raw.execute("SELECT actor, action FROM audit").fetchall())
    assert [action for _, action in rows] == ["account_created", "person_created", "person_set", "token_created"]
    assert {actor for actor, _ in rows} == {"anna"}
