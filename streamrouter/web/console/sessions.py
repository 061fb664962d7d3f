"""Signing in and out: the set-up link, invitations, passwords, and a person's own sessions.

A session is 256 random bits in a cookie that scripts cannot read; the ledger has its SHA-256. It is always made here:
what a browser presents is looked up and never adopted, and each sign-in gives a new one (S30).
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from streamrouter import __version__
from streamrouter.admin.desk import Text, when
from streamrouter.errors import Refusal
from streamrouter.ids import new_secret, secret_hash
from streamrouter.ledger import people, sessions
from streamrouter.ledger.sessions import Who
from streamrouter.policy import passwords
from streamrouter.policy.lifetimes import ABSOLUTE_NS
from streamrouter.web.body import header
from streamrouter.web.console.answers.people import Link, Presence, SessionBegun, Sessions
from streamrouter.web.console.origin import COOKIE, session_of
from streamrouter.web.console.route import Body, Context, Empty, Reply, Route
from streamrouter.wire.refusals import Headers

Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Secret = Annotated[str, Meta(min_length=1, max_length=256)]


class SetUp(Body, frozen=True):
    """The first admin. ``token`` is what stands behind ``#t=`` in the link that the server printed."""

    token: Secret
    name: Text
    password: Password


class LinkToken(Body, frozen=True):
    """What stands behind ``#t=`` in a link."""

    token: Secret


class Join(Body, frozen=True):
    """An invitation (or a reset), and the password that is to be theirs."""

    token: Secret
    password: Password


class SignIn(Body, frozen=True):
    """Who, and their password."""

    name: Text
    password: Password


class NewPassword(Body, frozen=True):
    """The password as it was, and as it is to be."""

    old: Password
    new: Password


async def session(context: Context) -> Any:
    """Who is there; the version is told to nobody else."""
    admin = context.who is not None or await context.site.ledger.ask(people.has_admin)
    person = None if context.who is None else _shown(context.who)
    return {"setup": not admin, "person": person, "version": None if person is None else __version__}


async def set_up(context: Context) -> Reply:
    body: SetUp = context.body
    _check_password(body.password, body.name)
    digest = secret_hash(body.token)
    await _look(context, digest)  # before the work of hashing a password
    encoded = await context.site.door.encode(body.password)
    secret = new_secret("")
    who = await context.act(people.set_up, digest, body.name, encoded, secret_hash(secret), _client(context))
    return _signed_in(context, who, secret, 201)


async def invitation(context: Context) -> Any:
    link = await _look(context, secret_hash(context.body.token))
    name, role = ("", "admin") if link.person is None else (link.person.name, link.person.role)
    return {"name": name, "role": role, "purpose": link.purpose, "expires": when(link.expires_ns)}


async def join(context: Context) -> Reply:
    body: Join = context.body
    digest = secret_hash(body.token)
    link = await _look(context, digest)
    _check_password(body.password, "" if link.person is None else link.person.name)
    encoded = await context.site.door.encode(body.password)
    secret = new_secret("")
    who = await context.act(people.join, digest, encoded, secret_hash(secret), _client(context))
    return _signed_in(context, who, secret, 201)


async def sign_in(context: Context) -> Reply:
    """The same words, after the same time, whether the name or the password was wrong."""
    body: SignIn = context.body
    door = context.site.door
    door.knock(body.name, context.client)
    person = await context.site.ledger.ask(lambda raw: people.named(raw, body.name))
    encoded = person.password if person is not None and person.status == "active" else None
    right = await door.verify(body.password, encoded)
    who, secret = None, new_secret("")
    if right and person is not None and encoded is not None:
        renewed = await door.encode(body.password) if door.outdated(encoded) else None
        before = session_of(context.scope)
        old = None if before is None else secret_hash(before)
        who = await context.act(people.sign_in, person, old, secret_hash(secret), _client(context), renewed)
    if who is None:
        name = None if person is None else person.name  # what is nobody's name may be somebody's password
        context.site.log.event("warning", "sign_in_failed", id=context.request_id, name=name, client=context.client)
        raise Refusal("wrong_password", "The name or the password is wrong.")
    door.welcome(body.name, context.client)
    return _signed_in(context, who, secret)


async def sign_out(context: Context) -> Reply:
    """Whoever it is: signing out twice is fine."""
    who = context.who
    if who is not None and who.session is not None:
        await context.act(sessions.end_one, who.person_id, who.session)
    return Reply(headers=_cookie(context, "", 0))


async def change_password(context: Context) -> Reply:
    body: NewPassword = context.body
    who = context.person
    if who.person_id is None:
        raise Refusal("forbidden", "An admin token has no password.")
    door = context.site.door
    door.knock(who.name, context.client)
    person_id = who.person_id
    person = await context.site.ledger.ask(lambda raw: people.by_id(raw, person_id))
    if not await door.verify(body.old, person.password):
        raise Refusal("wrong_password", "The old password is wrong.", param="old")
    door.welcome(who.name, context.client)
    _check_password(body.new, who.name, "new")
    secret = new_secret("")
    encoded = await door.encode(body.new)
    done = await context.act(people.change_password, person, encoded, secret_hash(secret), _client(context))
    if done is None:
        raise Refusal("wrong_password", "The password was changed meanwhile.", param="old")
    return Reply(headers=_cookie(context, secret, ABSOLUTE_NS // 1_000_000_000))


async def list_sessions(context: Context) -> Any:
    person_id = context.person.person_id
    found = [] if person_id is None else await context.site.ledger.ask(lambda raw: sessions.of_person(raw, person_id))
    return {
        "data": [
            {
                "id": each.id,
                "created": when(each.created_ns),
                "seen": when(each.seen_ns),
                "client": each.client,
                "current": each.id == context.person.session,
            }
            for each in found
        ],
        "next": None,
    }


async def end_session(context: Context) -> None:
    if not await context.act(sessions.end_one, context.person.person_id, context.path["id"]):
        raise Refusal("not_found", "You have no such session.")


async def _look(context: Context, digest: bytes) -> people.Link:
    """The open link, by a read: whoever tries links makes nobody's commit begin again."""
    return await context.site.ledger.ask(lambda raw: people.look(raw, digest, context.now_ns))


def _shown(who: Who) -> dict[str, Any]:
    return {"id": who.person_id, "name": who.name, "role": who.role, "user": who.user}


def _check_password(password: str, name: str, param: str = "password") -> None:
    fault = passwords.fault_of(password, name)
    if fault is not None:
        raise Refusal("invalid_value", fault, param=param)


def _client(context: Context) -> str:
    """What a session says about where it is used: the address and the browser's own name of itself."""
    agent = (header(context.scope, b"user-agent") or b"").decode("ascii", "replace")
    printable = "".join(c for c in agent if c.isascii() and c.isprintable())
    return f"{context.client} {printable}".strip()


def _signed_in(context: Context, who: Who, secret: str, status: int = 200) -> Reply:
    context.site.log.event("info", "signed_in", id=context.request_id, name=who.name, client=context.client)
    headers = _cookie(context, secret, ABSOLUTE_NS // 1_000_000_000)
    return Reply(value={"person": _shown(who)}, status=status, headers=headers)


def _cookie(context: Context, secret: str, age_s: int) -> Headers:
    secure = "; Secure" if context.secure else ""
    text = f"{COOKIE}={secret}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"
    return [(b"set-cookie", text.encode("ascii"))]


ROUTES = (
    Route("GET", "/session", "anyone", session, "Who is signed in; whether an admin exists at all", answer=Presence),
    Route(
        "POST",
        "/setup",
        "anyone",
        set_up,
        "Make the first admin, by the link that the server printed",
        body=SetUp,
        status=201,
        answer=SessionBegun,
    ),
    Route("POST", "/invitation", "anyone", invitation, "Look at a one-time link, unused", body=LinkToken, answer=Link),
    Route(
        "POST",
        "/join",
        "anyone",
        join,
        "Use a one-time link: choose a password",
        body=Join,
        status=201,
        answer=SessionBegun,
    ),
    Route("POST", "/sign-in", "anyone", sign_in, "Sign in with a password", body=SignIn, answer=SessionBegun),
    Route("POST", "/sign-out", "anyone", sign_out, "End this session", body=Empty, status=204),
    Route("POST", "/password", "member", change_password, "Choose another password", body=NewPassword, status=204),
    Route("GET", "/sessions", "member", list_sessions, "One's own sessions", answer=Sessions),
    Route("DELETE", "/sessions/{id}", "member", end_session, "End one of one's own sessions", status=204),
)
