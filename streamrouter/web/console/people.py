"""People and admin tokens, for admins: invite, change, invite again; make a token, revoke it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from streamrouter.admin.desk import Text
from streamrouter.ledger.sessions import PersonRole
from streamrouter.web.console.answers.people import AdminTokens, Invited, MadeToken, NewLink, People, Person
from streamrouter.web.console.route import Body, Context, Empty, Route


class NewPerson(Body, frozen=True):
    """``user``: the account that is theirs; a member's is made with the default caps where it does not exist."""

    name: Text
    role: PersonRole
    user: Text | None = None


class PersonChange(Body, frozen=True):
    """What is left out stays. ``user`` null: no account is theirs any more."""

    role: PersonRole | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET
    user: Text | UnsetType | None = UNSET


class NewToken(Body, frozen=True):
    """What a script's token is called; the audit log shows it."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


async def list_people(context: Context) -> Any:
    return {"data": await context.perform("person.list"), "next": None}


async def create_person(context: Context) -> Any:
    return await context.perform("person.create", ref=context.ref or UNSET, **context.given())


async def change_person(context: Context) -> Any:
    return await context.perform("person.set", id=context.path["id"], **context.given())


async def invite_person(context: Context) -> Any:
    made = await context.perform("person.invite", id=context.path["id"])
    return {"link": made["link"], "expires": made["expires"]}


async def list_tokens(context: Context) -> Any:
    return {"data": await context.perform("token.list"), "next": None}


async def create_token(context: Context) -> Any:
    """It ends with the rights of the person who made it, or who made the token that makes it."""
    owner = context.person.owner
    return await context.perform("token.create", name=context.body.name, owner=owner, ref=context.ref or UNSET)


async def revoke_token(context: Context) -> None:
    await context.perform("token.revoke", id=context.path["id"])


ROUTES = (
    Route("GET", "/people", "admin", list_people, "Everybody who may sign in, or is invited to", answer=People),
    Route(
        "POST",
        "/people",
        "admin",
        create_person,
        "Invite somebody",
        body=NewPerson,
        status=201,
        once=True,
        answer=Invited,
    ),
    Route(
        "PATCH",
        "/people/{id}",
        "admin",
        change_person,
        "Change a role, a status or an account",
        body=PersonChange,
        answer=Person,
    ),
    Route(
        "POST",
        "/people/{id}/invitation",
        "admin",
        invite_person,
        "A new one-time link: to join, or to choose another password",
        body=Empty,
        status=201,
        answer=NewLink,
    ),
    Route("GET", "/tokens", "admin", list_tokens, "Admin tokens, without their secrets", answer=AdminTokens),
    Route(
        "POST",
        "/tokens",
        "admin",
        create_token,
        "Make an admin token",
        body=NewToken,
        status=201,
        once=True,
        answer=MadeToken,
    ),
    Route("DELETE", "/tokens/{id}", "admin", revoke_token, "Revoke an admin token", status=204),
)
