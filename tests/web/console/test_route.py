"""The context by itself: in whose name verbs are carried out, and what becomes of their errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import UNSET, UnsetType

from streamrouter.errors import Refusal
from streamrouter.ledger.sessions import Who
from streamrouter.web.console.route import Body, Context
from tests.support.asgi import Rig, running, scope_of

ANNA = Who(name="anna", role="admin", person_id="per_1", user="team-a", session="ses_1")


class Caps(Body, frozen=True):
    daily_input: int | UnsetType | None = UNSET
    daily_output: int | UnsetType | None = UNSET


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


def context(rig: Rig, who: Who | None = ANNA, body: Any = None) -> Context:
    return Context(
        site=rig.app.site,
        scope=scope_of(),
        request_id="req_1",
        now_ns=1,
        who=who,
        path={},
        body=body,
        query=None,
        ref=None,
        client="",
        secure=False,
    )


async def test_a_verb_is_carried_out_in_the_name_of_whoever_asks(rig: Rig) -> None:
    asked = context(rig, body=Caps(daily_input=None))
    assert asked.given() == {"daily_input": None}
    await asked.perform("user.set", user="team-a", **asked.given(), daily_output=UNSET)
    query = "SELECT actor, action FROM audit ORDER BY number DESC LIMIT 1"
    assert await rig.ledger.ask(lambda raw: raw.execute(query).fetchone()) == ("anna", "account_set")


def test_how_the_audit_log_calls_them() -> None:
    assert ANNA.actor == "anna"
    assert Who(name="ci", role="admin", token="tok_1").actor == "token ci"


async def test_who_asks_and_for_which_account(rig: Rig) -> None:
    assert (context(rig).person, context(rig).user()) == (ANNA, "team-a")
    with pytest.raises(Refusal) as nobody:
        _ = context(rig, None).person
    with pytest.raises(Refusal) as without:
        context(rig, Who(name="ci", role="admin", token="tok_1")).user()
    assert (nobody.value.code, without.value.code) == ("not_signed_in", "not_found")


@pytest.mark.parametrize(
    ("error", "code"), [(LookupError("no such thing"), "not_found"), (ValueError("not so"), "invalid_value")]
)
async def test_an_act_that_cannot_be_is_refused_in_its_own_words(rig: Rig, error: Exception, code: str) -> None:
    def act(book: Any, at: Any) -> None:
        raise error

    with pytest.raises(Refusal) as refused:
        await context(rig).act(act)
    assert (refused.value.code, refused.value.message) == (code, str(error))


async def test_a_bug_in_an_act_stays_one(rig: Rig) -> None:
    def act(book: Any, at: Any) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await context(rig).act(act)
