"""Sessions and admin tokens in the books: found by hash, over in time, and never adopted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streamrouter.ids import secret_hash
from streamrouter.ledger import people, sessions
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.lifetimes import ABSOLUTE_NS, IDLE_NS, SEEN_NS
from tests.ledger.books import moment

AT = moment()
SESSION = secret_hash("a session")


@pytest.fixture
def book(tables: Connection) -> SqliteBook:
    made = SqliteBook(tables, {})
    people.create_admin(made, AT, "anna", "scrypt$…")
    return made


def anna(book: SqliteBook) -> str:
    return people.by_id(book.connection, "anna").id


def after(ns: int) -> Moment:
    return moment(AT.now_ns + ns)


def test_an_id_that_was_not_made_here_is_nobodys_and_stays_so(book: SqliteBook) -> None:
    assert sessions.present_session(book, AT, secret_hash("planted")) is None
    assert book.connection.execute("SELECT count(*) FROM session").fetchone() == (0,)


def test_who_presents_a_session(book: SqliteBook) -> None:
    begun = sessions.begin(book, AT, anna(book), SESSION, "x" * 1000)
    assert sessions.present_session(book, AT, SESSION) == begun
    assert (begun.name, begun.role, begun.person_id, begun.token) == ("anna", "admin", anna(book), None)
    assert begun.actor == "anna"
    (shown,) = sessions.of_person(book.connection, anna(book))
    assert (shown.id, len(shown.client)) == (begun.session, sessions.LONGEST_CLIENT)


def test_a_session_that_nobody_uses_ends(book: SqliteBook) -> None:
    sessions.begin(book, AT, anna(book), SESSION, "")
    assert sessions.present_session(book, after(IDLE_NS), SESSION) is None
    assert sessions.present_session(book, AT, SESSION) is None  # it is gone, not asleep


def test_a_session_in_use_ends_after_twelve_hours(book: SqliteBook) -> None:
    sessions.begin(book, AT, anna(book), SESSION, "")
    step = IDLE_NS - 1
    at = 0
    while at + step < ABSOLUTE_NS:
        at += step
        assert sessions.present_session(book, after(at), SESSION) is not None
    assert sessions.present_session(book, after(ABSOLUTE_NS), SESSION) is None


def test_looking_for_a_session_or_a_token_writes_nothing(book: SqliteBook) -> None:
    who = sessions.begin(book, AT, anna(book), SESSION, "")
    _, secret = sessions.create_token(book, AT, "ci", None, None)
    before = book.connection.total_changes
    for late, due, alive in ((0, False, True), (SEEN_NS, True, True), (IDLE_NS, True, False)):
        found = sessions.find_session(book.connection, SESSION, AT.now_ns + late)
        assert found == sessions.Found(who, due, alive)
    token = sessions.find_token(book.connection, secret_hash(secret), AT.now_ns)
    assert token is not None and token.due
    for find in (sessions.find_session, sessions.find_token):
        assert find(book.connection, secret_hash("planted"), AT.now_ns) is None
    assert book.connection.total_changes == before


def test_its_last_use_is_written_once_a_minute(book: SqliteBook) -> None:
    sessions.begin(book, AT, anna(book), SESSION, "")
    before = book.connection.total_changes
    sessions.present_session(book, after(SEEN_NS - 1), SESSION)
    assert book.connection.total_changes == before
    sessions.present_session(book, after(SEEN_NS), SESSION)
    assert sessions.of_person(book.connection, anna(book))[0].seen_ns == AT.now_ns + SEEN_NS
    assert people.by_id(book.connection, "anna").seen_ns == AT.now_ns + SEEN_NS


def test_nobody_ends_the_session_of_another(book: SqliteBook) -> None:
    begun = sessions.begin(book, AT, anna(book), SESSION, "")
    people.create_admin(book, AT, "ben", "scrypt$…")
    ben = people.by_id(book.connection, "ben").id
    for person, session in ((ben, begun.session or ""), (anna(book), "ses_x"), ("", "")):
        assert not sessions.end_one(book, AT, person, session)
    assert sessions.present_session(book, AT, SESSION) is not None
    assert sessions.end_one(book, AT, anna(book), begun.session or "")
    assert sessions.present_session(book, AT, SESSION) is None
    sessions.end(book, AT, SESSION)


def test_what_has_ended_by_time_is_swept_away(book: SqliteBook) -> None:
    for number in range(3):
        sessions.begin(book, after(number * SEEN_NS), anna(book), secret_hash(str(number)), "")
    sessions.forget_ended(book, after(IDLE_NS + SEEN_NS))
    assert len(sessions.of_person(book.connection, anna(book))) == 1


def test_nobody_who_is_disabled_begins_a_session(book: SqliteBook) -> None:
    people.create_admin(book, AT, "ben", "scrypt$…")
    people.change(book, AT, "anna", {"status": "disabled"})
    with pytest.raises(LookupError):
        sessions.begin(book, AT, anna(book), SESSION, "")


def test_a_token_is_shown_once_and_found_by_its_hash(book: SqliteBook) -> None:
    made, secret = sessions.create_token(book, replace(AT, actor="anna"), "ci", None, "ref-1")
    assert secret.startswith("sra_") and made.display == f"sra_…{secret[-4:]}"
    again, nothing = sessions.create_token(book, AT, "ci", None, "ref-1")
    assert (again.id, nothing) == (made.id, "")
    with pytest.raises(ValueError, match="another token"):
        sessions.create_token(book, AT, "cd", None, "ref-1")
    who = sessions.present_token(book, after(5), secret_hash(secret))
    assert who is not None and (who.role, who.person_id, who.actor) == ("admin", None, "token ci")
    assert sessions.tokens(book.connection)[0].seen_ns == AT.now_ns + 5
    sessions.revoke_token(book, AT, made.id)
    assert sessions.present_token(book, AT, secret_hash(secret)) is None
    with pytest.raises(LookupError):
        sessions.revoke_token(book, AT, made.id)


@pytest.mark.parametrize("name", ["", " ", "a\n", "x" * 65, " a"])
def test_what_is_no_name_of_a_token(book: SqliteBook, name: str) -> None:
    with pytest.raises(ValueError, match="token's name"):
        sessions.create_token(book, AT, name, None, None)


def test_a_persons_token_ends_with_their_rights(book: SqliteBook) -> None:
    made, secret = sessions.create_token(book, AT, "ci", anna(book), None)
    assert made.owner == "anna"
    people.create_admin(book, AT, "ben", "scrypt$…")
    people.change(book, AT, "anna", {"role": "member"})
    assert sessions.present_token(book, AT, secret_hash(secret)) is None
    people.change(book, AT, "anna", {"role": "admin", "status": "disabled"})
    assert sessions.present_token(book, AT, secret_hash(secret)) is None
