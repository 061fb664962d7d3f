"""What the admin API answers about people, their sessions and admin tokens, as Structs (see books.py)."""

from __future__ import annotations

from typing import Literal

from streamrouter.ledger.sessions import PersonRole
from streamrouter.policy.lifetimes import Purpose
from streamrouter.web.console.answers.books import Answer, page_of


class SignedIn(Answer, frozen=True):
    """Whoever is signed in; ``id`` null: an admin token. ``user``: the account that is theirs."""

    id: str | None
    name: str
    role: PersonRole
    user: str | None


class Presence(Answer, frozen=True):
    """Who is there. ``setup``: there is no admin yet; ``version`` is told to whoever is signed in."""

    setup: bool
    person: SignedIn | None
    version: str | None


class SessionBegun(Answer, frozen=True):
    """A session in a cookie, and whose it is."""

    person: SignedIn


class Link(Answer, frozen=True):
    """An open one-time link: for whom (name "": the first admin), and what it does."""

    name: str
    role: PersonRole
    purpose: Purpose
    expires: str


class Person(Answer, frozen=True):
    """Somebody who may sign in, or is invited to (``invited_until``: while a link of theirs is open)."""

    id: str
    name: str
    role: PersonRole
    user: str | None
    status: Literal["active", "invited", "disabled"]
    created: str
    last_seen: str | None
    invited_until: str | None


class Invited(Answer, frozen=True):
    """A new person and the link to send them, shown once. ``repeated``: made before by this Idempotency-Key."""

    person: Person
    link: str | None
    expires: str | None
    repeated: bool


class NewLink(Answer, frozen=True):
    """A one-time link, shown once; the path on this server."""

    link: str
    expires: str


class Session(Answer, frozen=True):
    """One of one's own sessions. ``client``: the address and the browser's name of itself."""

    id: str
    created: str
    seen: str
    client: str
    current: bool


class AdminToken(Answer, frozen=True):
    """An admin token as it may be shown later. ``owner`` null: made on the command line, or by a token."""

    id: str
    name: str
    display: str
    owner: str | None
    created: str
    last_used: str | None


class MadeToken(AdminToken, frozen=True):
    """A new admin token. ``token`` is its secret, shown once; null where it was made before."""

    token: str | None
    repeated: bool


People, Sessions, AdminTokens = (
    page_of("People", Person),
    page_of("Sessions", Session),
    page_of("AdminTokens", AdminToken),
)
