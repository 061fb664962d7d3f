"""People in the books: links that work once, admins of whom one remains, and nothing secret in any table."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger import administration, people, sessions
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.people import Person
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.lifetimes import LINK_NS
from tests.ledger.books import contents, moment

AT = moment()
LATER = moment(AT.now_ns + LINK_NS["setup"])
SESSION = secret_hash("a session")


@pytest.fixture
def book(tables: Connection) -> SqliteBook:
    return SqliteBook(tables, {})


def audit(book: SqliteBook) -> list[tuple[str, str]]:
    return [tuple(row) for row in book.connection.execute("SELECT actor, action FROM audit ORDER BY number")]


def admin(book: SqliteBook, name: str = "anna") -> Person:
    return people.create_admin(book, AT, name, "scrypt$…")


def expired(book: SqliteBook, secret: str, at: Any = AT) -> bool:
    with pytest.raises(Refusal) as refused:
        people.look(book.connection, secret_hash(secret), at.now_ns)
    return refused.value.code == "link_expired"


def test_the_set_up_link_makes_one_admin_once(book: SqliteBook) -> None:
    assert not people.has_admin(book.connection)
    older, link = people.new_setup(book, AT), people.new_setup(book, AT)
    assert expired(book, older) and expired(book, "never was") and expired(book, link, LATER)
    assert people.look(book.connection, secret_hash(link), AT.now_ns).purpose == "setup"
    who = people.set_up(book, AT, secret_hash(link), "anna", "scrypt$…", SESSION, "here")
    assert (who.name, who.role, who.session is None) == ("anna", "admin", False)
    assert people.has_admin(book.connection) and expired(book, link)
    with pytest.raises(Refusal):
        people.set_up(book, AT, secret_hash(link), "eve", "scrypt$…", secret_hash("another"), "there")
    assert people.new_setup(book, AT) == ""
    assert audit(book) == [("anna", "person_created")]


def test_an_admin_by_another_way_kills_the_set_up_link(book: SqliteBook) -> None:
    link = people.new_setup(book, AT)
    admin(book)
    assert expired(book, link)


def test_a_link_for_one_purpose_is_of_no_use_for_another(book: SqliteBook) -> None:
    link = people.new_setup(book, AT)
    with pytest.raises(Refusal):
        people.join(book, AT, secret_hash(link), "scrypt$…", SESSION, "")
    _, invitation = people.invite(book, AT, "bob", "admin", None, None, None)
    with pytest.raises(Refusal):
        people.set_up(book, AT, secret_hash(invitation), "eve", "scrypt$…", SESSION, "")
    assert [person.name for person in people.everybody(book.connection)] == ["bob"]


def test_an_invitation_makes_the_account_and_is_good_once(book: SqliteBook) -> None:
    person, link = people.invite(book, AT, "bob", "member", "team-b", {"daily_input": 7}, None)
    account = book.account_named("team-b")
    assert account is not None and account.daily_input == 7
    assert (person.user, person.password, person.link_ns) == ("team-b", None, AT.now_ns + LINK_NS["invite"])
    assert not person.governs
    who = people.join(book, AT, secret_hash(link), "scrypt$…", SESSION, "")
    assert (who.name, who.role, who.user) == ("bob", "member", "team-b")
    assert expired(book, link)
    assert people.by_id(book.connection, "bob").link_ns is None
    assert audit(book)[-1] == ("bob", "joined")


def test_an_invitation_without_caps_needs_the_account(book: SqliteBook) -> None:
    with pytest.raises(LookupError, match="no user 'team-b'"):
        people.invite(book, AT, "bob", "admin", "team-b", None, None)
    administration.create_account(book, AT, "team-b", {})
    assert people.invite(book, AT, "bob", "admin", "team-b", None, None)[0].user == "team-b"


def test_a_reference_invites_once(book: SqliteBook) -> None:
    first, link = people.invite(book, AT, "bob", "member", None, None, "ref-1")
    again, nothing = people.invite(book, AT, "bob", "member", None, None, "ref-1")
    assert (again.id, nothing) == (first.id, "") and link
    with pytest.raises(ValueError, match="used for another person"):
        people.invite(book, AT, "eve", "member", None, None, "ref-1")


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "-a", "a\n", "<b>"])
def test_what_is_no_name(book: SqliteBook, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        people.add(book, AT, name, "member", None)


def test_two_people_are_told_apart_by_more_than_case(book: SqliteBook) -> None:
    admin(book, "anna")
    with pytest.raises(ValueError, match="somebody called 'Anna' already"):
        people.add(book, AT, "Anna", "member", None)
    assert people.named(book.connection, "ANNA") == people.by_id(book.connection, "anna")
    with pytest.raises(LookupError):
        people.by_id(book.connection, "nobody")


def test_a_new_link_kills_the_older_one_and_a_reset_ends_sessions(book: SqliteBook) -> None:
    anna = admin(book)
    sessions.begin(book, AT, anna.id, SESSION, "")
    _, first = people.invite_again(book, AT, anna.id)
    person, second = people.invite_again(book, AT, "anna")
    assert expired(book, first)
    assert people.look(book.connection, secret_hash(second), AT.now_ns).purpose == "reset"
    assert person.link_ns == AT.now_ns + LINK_NS["reset"]
    assert sessions.present_session(book, AT, SESSION) is not None  # until it is used
    people.join(book, AT, secret_hash(second), "scrypt$new", secret_hash("new"), "")
    assert sessions.present_session(book, AT, SESSION) is None
    assert people.by_id(book.connection, anna.id).password == "scrypt$new"


def test_signing_in_holds_only_for_the_password_that_was_compared(book: SqliteBook) -> None:
    anna = admin(book)
    who = people.sign_in(book, AT, anna, None, SESSION, "", None)
    assert who is not None and sessions.present_session(book, AT, SESSION) is not None
    again = people.sign_in(book, AT, anna, SESSION, secret_hash("2"), "", "scrypt$dearer")
    assert again is not None and sessions.present_session(book, AT, SESSION) is None
    assert people.by_id(book.connection, anna.id).password == "scrypt$dearer"
    assert people.sign_in(book, AT, anna, None, secret_hash("3"), "", None) is None
    assert people.change_password(book, AT, anna, "scrypt$x", None, "") is None
    admin(book, "ben")
    people.change(book, AT, "anna", {"status": "disabled"})
    now = people.by_id(book.connection, "anna")
    assert people.sign_in(book, AT, now, None, secret_hash("4"), "", None) is None


def test_a_new_password_ends_every_session_and_begins_one(book: SqliteBook) -> None:
    anna = admin(book)
    for number in range(3):
        sessions.begin(book, AT, anna.id, secret_hash(str(number)), "")
    who = people.change_password(book, AT, anna, "scrypt$new", SESSION, "here")
    assert who is not None
    assert [each.id for each in sessions.of_person(book.connection, anna.id)] == [who.session]


def test_the_last_active_admin_stays_one(book: SqliteBook) -> None:
    admin(book, "anna")
    people.invite(book, AT, "ben", "admin", None, None, None)  # has not joined: could not govern
    for change in ({"role": "member"}, {"status": "disabled"}):
        with pytest.raises(Refusal) as refused:
            people.change(book, AT, "anna", change)
        assert refused.value.code == "last_admin"
    people.change(book, AT, "anna", {"user": None, "role": "admin"})
    admin(book, "carl")
    assert people.change(book, AT, "anna", {"role": "member"}).role == "member"
    assert people.admins(book.connection) == 1


def test_where_rights_change_sessions_and_links_end(book: SqliteBook) -> None:
    admin(book, "anna")
    ben = admin(book, "ben")
    sessions.begin(book, AT, ben.id, SESSION, "")
    administration.create_account(book, AT, "team", {})
    assert people.change(book, replace(AT, actor="anna"), ben.id, {"user": "team"}).user == "team"
    assert sessions.present_session(book, AT, SESSION) is not None
    people.change(book, AT, ben.id, {"role": "member"})
    assert sessions.present_session(book, AT, SESSION) is None
    _, link = people.invite_again(book, AT, ben.id)
    people.change(book, AT, ben.id, {"status": "disabled"})
    assert expired(book, link)
    with pytest.raises(ValueError, match="disabled"):
        people.invite_again(book, AT, ben.id)
    assert ("anna", "person_set") in audit(book)


def test_no_table_holds_a_secret(book: SqliteBook) -> None:
    secrets = [people.new_setup(book, AT)]
    person, link = people.invite(book, AT, "bob", "member", None, None, None)
    secrets += [link, people.invite_again(book, AT, person.id)[1]]
    secrets += [sessions.create_token(book, AT, "ci", None, None)[1]]
    dump = str(contents(book.connection))
    assert all(secret not in dump and len(secret) >= 43 for secret in secrets)


@pytest.mark.parametrize("name", ["a\0b", "\0", "", "ä", "anna\n", "x" * 200])
def test_what_cannot_be_a_name_is_nobodys(book: SqliteBook, name: str) -> None:
    admin(book)
    assert people.named(book.connection, name) is None
    with pytest.raises(ValueError, match="cannot be a name"):
        people.add(book, AT, name, "member", None)
