"""People of the console: who they are, their one-time links, their passwords (as scrypt strings), and who is an admin.

They run inside the writer's transaction, like all of administration.py: a link is good for exactly one use however many
try it at once, and the last active admin stays one. Links are known by the SHA-256 of their secret alone.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from streamrouter.errors import Refusal
from streamrouter.ids import new_secret, record_id, secret_hash
from streamrouter.ledger import administration, sessions
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sessions import PersonRole, Who
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.lifetimes import LINK_NS, Purpose

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_SELECT = (
    "SELECT p.id, p.name, p.role, p.status, a.name, p.password, p.created_ns, p.seen_ns, max(i.expires_ns)"
    " FROM person p LEFT JOIN account a ON a.id = p.account_id LEFT JOIN invitation i ON i.person_id = p.id"
)
_GROUPED = " GROUP BY p.id, p.name, p.role, p.status, a.name, p.password, p.created_ns, p.seen_ns"
_BY_ID = _SELECT + " WHERE p.id = ?" + _GROUPED
_BY_NAME = _SELECT + " WHERE lower(p.name) = lower(?)" + _GROUPED
_BY_REF = _SELECT + " WHERE p.ref = ?" + _GROUPED
_ALL = _SELECT + _GROUPED + " ORDER BY lower(p.name)"
_ADMINS = "SELECT count(*) FROM person WHERE role = 'admin' AND status = 'active' AND password IS NOT NULL"
_LINK = "SELECT person_id, purpose, expires_ns FROM invitation WHERE hash = ?"
_INSERT_LINK = "INSERT INTO invitation (hash, person_id, purpose, created_ns, expires_ns) VALUES (?, ?, ?, ?, ?)"
_INSERT = "INSERT INTO person (id, name, role, status, account_id, created_ns, ref) VALUES (?, ?, ?, 'active', ?, ?, ?)"


class Person(Struct, frozen=True):
    """A person. ``user``: the name of their account; ``password`` None: their link was not used yet."""

    id: str
    name: str
    role: PersonRole
    status: Literal["active", "disabled"]
    user: str | None
    password: str | None
    created_ns: int
    seen_ns: int | None
    link_ns: int | None  # until when their open link is good

    @property
    def governs(self) -> bool:
        """Whether they can act as an admin now."""
        return self.role == "admin" and self.status == "active" and self.password is not None


class Link(Struct, frozen=True):
    """An open one-time link. ``person`` is None for the set-up link."""

    person: Person | None
    purpose: Purpose
    expires_ns: int


def has_admin(connection: Connection) -> bool:
    """Whether anybody can sign in as an admin."""
    return admins(connection) > 0


def admins(connection: Connection) -> int:
    """How many can sign in as an admin."""
    (found,) = connection.execute(_ADMINS).fetchone()
    return int(found)


def everybody(connection: Connection) -> list[Person]:
    """Every person, by name."""
    return [Person(*row) for row in connection.execute(_ALL)]


def named(connection: Connection, name: str) -> Person | None:
    """A person by name, whatever its case."""
    return _one(connection, _BY_NAME, name) if NAME.fullmatch(name) else None  # not every text can be asked for


def by_id(connection: Connection, person_id: str) -> Person:
    """A person by id or name. LookupError if there is none."""
    found = _one(connection, _BY_ID, person_id) or named(connection, person_id)
    if found is None:
        raise LookupError(f"there is no person {person_id[:64]!r}; see: streamrouter admin list")
    return found


def new_setup(book: SqliteBook, at: Moment) -> str:
    """A new set-up link's secret; an older one is dead. "" where an admin exists already."""
    book.connection.execute("DELETE FROM invitation WHERE purpose = 'setup'")
    return "" if has_admin(book.connection) else _new_link(book, at, None, "setup")


def look(connection: Connection, digest: bytes, now_ns: int) -> Link:
    """The open link with this SHA-256. Refusal ``link_expired`` for one that was used, replaced, or never was."""
    row = connection.execute(_LINK, (digest,)).fetchone()
    if row is not None:
        person_id, purpose, expires_ns = row
        person = None if person_id is None else by_id(connection, person_id)
        done = has_admin(connection) if person is None else person.status != "active"
        if now_ns < expires_ns and not done:
            return Link(person, purpose, expires_ns)
    raise Refusal("link_expired", "This link was used already, or has expired. Ask an admin for a new one.")


def set_up(book: SqliteBook, at: Moment, digest: bytes, name: str, password: str, session: bytes, client: str) -> Who:
    """Use the set-up link: the first admin, with a password (encoded) and a session (its SHA-256)."""
    if look(book.connection, digest, at.now_ns).purpose != "setup":
        raise Refusal("link_expired", "This is no set-up link.")
    book.connection.execute("DELETE FROM invitation WHERE purpose = 'setup'")
    person = add(book, _as(at, name), name, "admin", None)
    _set_password(book, person.id, password)
    return sessions.begin(book, at, person.id, session, client)


def join(book: SqliteBook, at: Moment, digest: bytes, password: str, session: bytes, client: str) -> Who:
    """Use an invitation or a reset: the password is theirs (encoded), older sessions end, a new one begins."""
    link = look(book.connection, digest, at.now_ns)
    if link.person is None:
        raise Refusal("link_expired", "This is the set-up link.")
    _set_password(book, link.person.id, password)
    book.audit(_as(at, link.person.name), "joined", link.person.id, {"purpose": link.purpose})
    return sessions.begin(book, at, link.person.id, session, client)


def sign_in(
    book: SqliteBook, at: Moment, person: Person, before: bytes | None, session: bytes, client: str, renewed: str | None
) -> Who | None:
    """A session of a person whose password (as in ``person``) was right; None if it has changed meanwhile.

    ``before``: the session that the browser had, which ends. ``renewed``: the password, hashed anew.
    """
    now = by_id(book.connection, person.id)
    if now.status != "active" or now.password is None or now.password != person.password:
        return None
    sessions.forget_ended(book, at)
    if before is not None:
        sessions.end(book, at, before)
    if renewed is not None:
        book.connection.execute("UPDATE person SET password = ? WHERE id = ?", (renewed, person.id))
    book.audit(_as(at, person.name), "signed_in", person.id, {})
    return sessions.begin(book, at, person.id, session, client)


def change_password(
    book: SqliteBook, at: Moment, person: Person, password: str, session: bytes | None, client: str
) -> Who | None:
    """A new password (encoded): every session ends, and ``session`` begins. None if the old one has changed."""
    if by_id(book.connection, person.id).password != person.password:
        return None
    _set_password(book, person.id, password)
    book.audit(at, "password_changed", person.id, {})
    return None if session is None else sessions.begin(book, at, person.id, session, client)


def add(book: SqliteBook, at: Moment, name: str, role: PersonRole, user: str | None, ref: str | None = None) -> Person:
    """A new person without a password. ``user``: the account that is theirs, which exists."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} cannot be a name: 1 to 64 letters, digits, '.', '_', '-', '@' or '+'")
    if named(book.connection, name) is not None:
        raise ValueError(f"there is somebody called {name!r} already; choose another name")
    person_id = record_id("per", at.now_ns)
    account_id = _account_id(book, user)
    book.connection.execute(_INSERT, (person_id, name, role, account_id, at.now_ns, ref))
    book.audit(at, "person_created", person_id, {"name": name, "role": role, "user": user})
    return by_id(book.connection, person_id)


def invite(
    book: SqliteBook,
    at: Moment,
    name: str,
    role: PersonRole,
    user: str | None,
    caps: dict[str, Any] | None,
    ref: str | None,
) -> tuple[Person, str]:
    """A new person and the secret of their link. ``caps``: of the account ``user``, which is made if it is missing.

    A ``ref`` that made somebody before gives that person and "".
    """
    if ref is not None and (earlier := _one(book.connection, _BY_REF, ref)) is not None:
        if (earlier.name, earlier.role, earlier.user) != (name, role, user):
            raise ValueError(f"the reference {ref!r} was used for another person; use a new one")
        return earlier, ""
    if user is not None and caps is not None and book.account_named(user) is None:
        administration.create_account(book, at, user, caps)
    person = add(book, at, name, role, user, ref)
    secret = _new_link(book, at, person, "invite")
    return by_id(book.connection, person.id), secret


def invite_again(book: SqliteBook, at: Moment, person_id: str) -> tuple[Person, str]:
    """A new link for somebody: to join, or, where they have a password, to choose another. The older link is dead."""
    person = by_id(book.connection, person_id)
    if person.status != "active":
        raise ValueError(f"{person.name} is disabled; enable them first")
    purpose: Purpose = "invite" if person.password is None else "reset"
    secret = _new_link(book, at, person, purpose)
    book.audit(at, "person_invited", person.id, {"purpose": purpose})
    return by_id(book.connection, person.id), secret


def create_admin(book: SqliteBook, at: Moment, name: str, password: str) -> Person:
    """An admin with a password (encoded), as the command line makes one."""
    person = add(book, at, name, "admin", None)
    _set_password(book, person.id, password)
    book.connection.execute("DELETE FROM invitation WHERE purpose = 'setup'")
    return by_id(book.connection, person.id)


def change(book: SqliteBook, at: Moment, person_id: str, changes: dict[str, Any]) -> Person:
    """Change ``role``, ``status`` or ``user`` (an account's name, or None).

    Where rights change, their sessions and the admin tokens that they made end.

    Refusal ``last_admin`` where nobody would be left to govern.
    """
    person = by_id(book.connection, person_id)
    role, status = changes.get("role", person.role), changes.get("status", person.status)
    user = changes.get("user", person.user)
    if person.governs and (role, status) != ("admin", "active") and admins(book.connection) == 1:
        raise Refusal("last_admin", f"{person.name} is the last active admin. Make another one first.")
    book.connection.execute(
        "UPDATE person SET role = ?, status = ?, account_id = ? WHERE id = ?",
        (role, status, _account_id(book, user), person.id),
    )
    if (role, status) != (person.role, person.status):
        sessions.end_all(book, person.id)
        sessions.end_tokens(book, at, person.id)
    if status != "active":
        book.connection.execute("DELETE FROM invitation WHERE person_id = ?", (person.id,))
    book.audit(at, "person_set", person.id, changes)
    return by_id(book.connection, person.id)


def _one(connection: Connection, statement: str, value: str) -> Person | None:
    row = connection.execute(statement, (value,)).fetchone()
    return None if row is None else Person(*row)


def _new_link(book: SqliteBook, at: Moment, person: Person | None, purpose: Purpose) -> str:
    secret = new_secret("")
    person_id = None if person is None else person.id
    book.connection.execute("DELETE FROM invitation WHERE person_id = ?", (person_id,))
    row = (secret_hash(secret), person_id, purpose, at.now_ns, at.now_ns + LINK_NS[purpose])
    book.connection.execute(_INSERT_LINK, row)
    return secret


def _set_password(book: SqliteBook, person_id: str, password: str) -> None:
    """Whatever opened the door before does so no more: links and sessions."""
    book.connection.execute("UPDATE person SET password = ? WHERE id = ?", (password, person_id))
    book.connection.execute("DELETE FROM invitation WHERE person_id = ?", (person_id,))
    sessions.end_all(book, person_id)


def _account_id(book: SqliteBook, user: str | None) -> str | None:
    if user is None:
        return None
    account = book.account_named(user)
    if account is None:
        raise LookupError(f"there is no user {user[:64]!r}; see: streamrouter user list")
    book.write()  # one that was made in this same batch must be there before it is referred to
    return account.id


def _as(at: Moment, actor: str) -> Moment:
    return Moment(at.now_ns, at.day, at.boot, at.lease_tokens, actor)
