"""The verbs about people of the console and about admin tokens: who may sign in, as what, and by which one-time link.

A link is the path of a page of ours with its secret behind the ``#``, which no browser sends anywhere. It is in the
result of the verb that made it and nowhere else; so is a token's secret.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, structs

from streamrouter.admin.desk import Args, Desk, Ref, Text, Verb, check_ref, when
from streamrouter.ledger import people, sessions
from streamrouter.ledger.people import Person
from streamrouter.ledger.sessions import PersonRole, Token
from streamrouter.policy import passwords

SETUP_PAGE = "/console/setup#t="
JOIN_PAGE = "/console/join#t="
Password = Annotated[str, Meta(max_length=1024)]


class PersonCreate(Args, frozen=True):
    """``person.create``: ``user`` is the account that is theirs; a member's is made where it does not exist."""

    name: Text
    role: PersonRole = "member"
    user: Text | None = None
    ref: Ref | None = None


class PersonSet(Args, frozen=True):
    """``person.set``: what is left out stays; ``user`` null takes their account away (it lives on)."""

    id: Text
    role: PersonRole | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET
    user: Text | UnsetType | None = UNSET


class PersonId(Args, frozen=True):
    """A verb about one person, by id or name."""

    id: Text


class AdminCreate(Args, frozen=True):
    """``admin.create``: an admin who can sign in at once."""

    name: Text
    password: Password


class TokenCreate(Args, frozen=True):
    """``token.create``: ``owner`` is the person (id) with whose rights it ends; null: it ends when it is revoked."""

    name: Text
    owner: Text | None = None
    ref: Ref | None = None


class TokenId(Args, frozen=True):
    """A verb about one admin token, by its id."""

    id: Text


def person_json(person: Person) -> dict[str, Any]:
    """A person as they may be shown: never a password, never a link."""
    invited = person.status == "active" and person.password is None
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "user": person.user,
        "status": "invited" if invited else person.status,
        "created": when(person.created_ns),
        "last_seen": None if person.seen_ns is None else when(person.seen_ns),
        "invited_until": None if person.link_ns is None else when(person.link_ns),
    }


async def _person_create(desk: Desk, args: PersonCreate) -> dict[str, Any]:
    check_ref(args.ref)
    caps = structs.asdict(desk.config.defaults) if args.role == "member" else None
    wanted = (args.name, args.role, args.user, caps, args.ref)
    return _linked(*await desk.ledger.act(people.invite, *wanted, actor=desk.actor))


async def _person_list(desk: Desk, args: Args) -> list[dict[str, Any]]:
    return [person_json(person) for person in await desk.ledger.ask(people.everybody)]


async def _person_set(desk: Desk, args: PersonSet) -> dict[str, Any]:
    given = {name: value for name in ("role", "status", "user") if (value := getattr(args, name)) is not UNSET}
    if not given:
        raise ValueError("nothing to change: give a role, a status or a user")
    return person_json(await desk.ledger.act(people.change, args.id, given, actor=desk.actor))


async def _person_invite(desk: Desk, args: PersonId) -> dict[str, Any]:
    return _linked(*await desk.ledger.act(people.invite_again, args.id, actor=desk.actor))


async def _admin_create(desk: Desk, args: AdminCreate) -> dict[str, Any]:
    fault = passwords.fault_of(args.password, args.name)
    if fault is not None:
        raise ValueError(fault)
    encoded = await asyncio.to_thread(passwords.encode, args.password, os.urandom(passwords.SALT_BYTES))
    return person_json(await desk.ledger.act(people.create_admin, args.name, encoded, actor=desk.actor))


async def _token_create(desk: Desk, args: TokenCreate) -> dict[str, Any]:
    check_ref(args.ref)
    made = await desk.ledger.act(sessions.create_token, args.name, args.owner, args.ref, actor=desk.actor)
    token, secret = made
    return {**_token(token), "token": secret or None, "repeated": not secret}


async def _token_list(desk: Desk, args: Args) -> list[dict[str, Any]]:
    return [_token(token) for token in await desk.ledger.ask(sessions.tokens)]


async def _token_revoke(desk: Desk, args: TokenId) -> dict[str, Any]:
    await desk.ledger.act(sessions.revoke_token, args.id, actor=desk.actor)
    return {"id": args.id, "revoked": True}


def _linked(person: Person, secret: str) -> dict[str, Any]:
    expires = None if person.link_ns is None else when(person.link_ns)
    link = JOIN_PAGE + secret if secret else None
    return {"person": person_json(person), "link": link, "expires": expires, "repeated": not secret}


def _token(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "display": token.display,
        "owner": token.owner,
        "created": when(token.created_ns),
        "last_used": None if token.seen_ns is None else when(token.seen_ns),
    }


PEOPLE: dict[str, Verb] = {
    "person.create": Verb(PersonCreate, _person_create),
    "person.list": Verb(Args, _person_list),
    "person.set": Verb(PersonSet, _person_set),
    "person.invite": Verb(PersonId, _person_invite),
    "admin.create": Verb(AdminCreate, _admin_create),
    "token.create": Verb(TokenCreate, _token_create),
    "token.list": Verb(Args, _token_list),
    "token.revoke": Verb(TokenId, _token_revoke),
}
