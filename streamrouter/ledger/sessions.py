"""Who is there: sessions of people, and admin tokens of scripts, each known by the SHA-256 of its secret alone.

These run inside the writer's transaction, so that a session that has ended is never seen by a request after it. An id
that was not issued here is never adopted: presenting one that is unknown gives nobody, and writes nothing.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from streamrouter.ids import display_form, new_secret, record_id, secret_hash
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.lifetimes import SEEN_NS, alive

TOKEN_PREFIX = "sra_"
LONGEST_CLIENT = 160  # characters of what a session says about its browser
PersonRole = Literal["admin", "member"]

_PRESENT = (
    "SELECT s.id, s.created_ns, s.seen_ns, p.id, p.name, p.role, a.name FROM session s"
    " JOIN person p ON p.id = s.person_id LEFT JOIN account a ON a.id = p.account_id"
    " WHERE s.hash = ? AND p.status = 'active'"
)
_PRESENT_TOKEN = (
    "SELECT t.id, t.name, t.seen_ns, t.person_id FROM admin_token t LEFT JOIN person p ON p.id = t.person_id"
    " WHERE t.hash = ? AND (t.person_id IS NULL OR (p.status = 'active' AND p.role = 'admin'))"
)
_SESSION_GOVERNS = (
    "SELECT s.created_ns, s.seen_ns FROM session s JOIN person p ON p.id = s.person_id"
    " WHERE s.id = ? AND p.status = 'active' AND p.role = 'admin'"
)
_TOKEN_GOVERNS = (
    "SELECT 1 FROM admin_token t LEFT JOIN person p ON p.id = t.person_id"
    " WHERE t.id = ? AND (t.person_id IS NULL OR (p.status = 'active' AND p.role = 'admin'))"
)
_SESSIONS = "SELECT id, client, created_ns, seen_ns FROM session WHERE person_id = ? ORDER BY created_ns DESC, id"
_TOKENS = (
    "SELECT t.id, t.name, t.display, t.created_ns, t.seen_ns, p.name FROM admin_token t"
    " LEFT JOIN person p ON p.id = t.person_id ORDER BY t.id"
)


class Who(Struct, frozen=True, kw_only=True):
    """Whoever asks: a person in a session, or a script with an admin token (``person_id`` is None then).

    ``user`` is the name of the account that is theirs; ``session`` and ``token`` are public ids, never secrets;
    ``owner`` is the id of the person with whose rights this ends, None for a token of the operator's.
    """

    name: str
    role: PersonRole
    person_id: str | None = None
    user: str | None = None
    session: str | None = None
    token: str | None = None
    owner: str | None = None

    @property
    def actor(self) -> str:
        """How the audit log calls them."""
        return self.name if self.token is None else f"token {self.name}"


class Found(Struct, frozen=True):
    """A session or a token that somebody presents. ``due``: ``present_…`` must write down its use, or its end."""

    who: Who
    due: bool
    alive: bool = True


class Session(Struct, frozen=True):
    """One session as its owner may see it."""

    id: str
    client: str
    created_ns: int
    seen_ns: int


class Token(Struct, frozen=True):
    """One admin token as it may be seen later. ``owner`` None: made on the command line."""

    id: str
    name: str
    display: str
    created_ns: int
    seen_ns: int | None
    owner: str | None


def find_session(connection: Connection, digest: bytes, now_ns: int) -> Found | None:
    """The session with this SHA-256, as it stands; None if there is none. Nothing is written, unlike below."""
    row = connection.execute(_PRESENT, (digest,)).fetchone()
    if row is None:
        return None
    session, created_ns, seen_ns, person_id, name, role, user = row
    lives = alive(created_ns, seen_ns, now_ns)
    who = Who(name=name, role=role, person_id=person_id, user=user, session=session, owner=person_id)
    return Found(who, due=not lives or now_ns - seen_ns >= SEEN_NS, alive=lives)


def present_session(book: SqliteBook, at: Moment, digest: bytes) -> Who | None:
    """Who presents the session with this SHA-256, None if it is none (any more)."""
    book.write()
    found = find_session(book.connection, digest, at.now_ns)
    if found is None:
        return None
    if not found.alive:
        book.connection.execute("DELETE FROM session WHERE hash = ?", (digest,))
        return None
    if found.due:
        book.connection.execute("UPDATE session SET seen_ns = ? WHERE hash = ?", (at.now_ns, digest))
        book.connection.execute("UPDATE person SET seen_ns = ? WHERE id = ?", (at.now_ns, found.who.person_id))
    return found.who


def find_token(connection: Connection, digest: bytes, now_ns: int) -> Found | None:
    """The admin token with this SHA-256, None if there is none. One that a person made dies with their rights."""
    row = connection.execute(_PRESENT_TOKEN, (digest,)).fetchone()
    if row is None:
        return None
    token, name, seen_ns, owner = row
    due = seen_ns is None or now_ns - seen_ns >= SEEN_NS
    return Found(Who(name=name, role="admin", token=token, owner=owner), due)


def present_token(book: SqliteBook, at: Moment, digest: bytes) -> Who | None:
    """Who presents the admin token with this SHA-256, None if it is none (any more)."""
    found = find_token(book.connection, digest, at.now_ns)
    if found is None:
        return None
    if found.due:
        book.connection.execute("UPDATE admin_token SET seen_ns = ? WHERE hash = ?", (at.now_ns, digest))
    return found.who


def begin(book: SqliteBook, at: Moment, person_id: str, digest: bytes, client: str) -> Who:
    """A new session of a person, under the SHA-256 of its secret."""
    row = (digest, record_id("ses", at.now_ns), person_id, client[:LONGEST_CLIENT], at.now_ns, at.now_ns)
    book.connection.execute(
        "INSERT INTO session (hash, id, person_id, client, created_ns, seen_ns) VALUES (?, ?, ?, ?, ?, ?)", row
    )
    book.connection.execute("UPDATE person SET seen_ns = ? WHERE id = ?", (at.now_ns, person_id))
    who = present_session(book, at, digest)
    if who is None:
        raise LookupError("this person is disabled")
    return who


def end(book: SqliteBook, at: Moment, digest: bytes) -> None:
    """Sign out: the session with this SHA-256 is over."""
    book.connection.execute("DELETE FROM session WHERE hash = ?", (digest,))


def end_all(book: SqliteBook, person_id: str) -> None:
    """Every session of a person is over."""
    book.connection.execute("DELETE FROM session WHERE person_id = ?", (person_id,))


def end_tokens(book: SqliteBook, at: Moment, person_id: str) -> None:
    """Every admin token that a person made is over, and does not come back with their rights."""
    for (token,) in book.connection.execute("SELECT id FROM admin_token WHERE person_id = ?", (person_id,)).fetchall():
        revoke_token(book, at, token)


def end_one(book: SqliteBook, at: Moment, person_id: str, session: str) -> bool:
    """One of a person's own sessions is over. False: there is none of that id that is theirs."""
    done = book.connection.execute("DELETE FROM session WHERE id = ? AND person_id = ?", (session, person_id))
    if done.rowcount != 1:
        return False
    book.audit(at, "session_ended", person_id, {"session": session})
    return True


def forget_ended(book: SqliteBook, at: Moment) -> None:
    """Remove the sessions that have ended by time; a step of signing in, so that the table stays small."""
    rows = book.connection.execute("SELECT hash, created_ns, seen_ns FROM session").fetchall()
    gone = [(digest,) for digest, created_ns, seen_ns in rows if not alive(created_ns, seen_ns, at.now_ns)]
    book.connection.executemany("DELETE FROM session WHERE hash = ?", gone)


def of_person(connection: Connection, person_id: str) -> list[Session]:
    """A person's sessions, the newest first."""
    return [Session(*row) for row in connection.execute(_SESSIONS, (person_id,))]


def create_token(book: SqliteBook, at: Moment, name: str, person_id: str | None, ref: str | None) -> tuple[Token, str]:
    """A new admin token and its secret, kept as a hash only. A ``ref`` that made one before gives it and ""."""
    if not (1 <= len(name) <= 64 and name.isprintable() and name == name.strip()):
        raise ValueError("a token's name is 1 to 64 printable characters")
    if ref is not None:
        earlier = book.connection.execute("SELECT id, name FROM admin_token WHERE ref = ?", (ref,)).fetchone()
        if earlier is not None:
            if earlier[1] != name:
                raise ValueError(f"the reference {ref!r} was used for another token; use a new one")
            return _token(book.connection, earlier[0]), ""
    secret = new_secret(TOKEN_PREFIX)
    token = record_id("tok", at.now_ns)
    row = (secret_hash(secret), token, name, display_form(secret, TOKEN_PREFIX), person_id, at.now_ns, ref)
    book.connection.execute(
        "INSERT INTO admin_token (hash, id, name, display, person_id, created_ns, ref) VALUES (?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    book.audit(at, "token_created", token, {"name": name})
    return _token(book.connection, token), secret


def revoke_token(book: SqliteBook, at: Moment, token: str) -> None:
    """An admin token works no more. LookupError if there is none of that id."""
    if book.connection.execute("DELETE FROM admin_token WHERE id = ?", (token,)).rowcount != 1:
        raise LookupError(f"there is no admin token {token[:64]!r}")
    book.audit(at, "token_revoked", token, {})


def tokens(connection: Connection) -> list[Token]:
    """Every admin token, the oldest first."""
    return [Token(*row) for row in connection.execute(_TOKENS)]


def _token(connection: Connection, token: str) -> Token:
    return next(each for each in tokens(connection) if each.id == token)


def governs(connection: Connection, who: Who, now_ns: int) -> bool:
    """Whether the session or the token of ``who`` is there still, and an admin's. It is no sign of life."""
    if who.token is not None:
        return connection.execute(_TOKEN_GOVERNS, (who.token,)).fetchone() is not None
    row = connection.execute(_SESSION_GOVERNS, (who.session,)).fetchone()
    return row is not None and alive(row[0], row[1], now_ns)
