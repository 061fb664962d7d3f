"""Places of a ledger: what is a URL, what is wrong with one, and that no spelling of it shows a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.config.place import fault_of, holds_secret, identity, is_database, shown

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("place", ["streamrouter.db", "/var/lib/x.db", "./postgres.db", "postgresql:/x", ""])
def test_a_path_is_a_path(place: str) -> None:
    assert not is_database(place) and fault_of(place) == ""
    assert shown(place) == place and not holds_secret(place)


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        (f"postgresql://u:{SECRET}@db.example.com:5433/books", "postgresql://u@db.example.com:5433/books"),
        (f"postgres://u:{SECRET}@db/books", "postgresql://u@db/books"),
        (f"postgresql://u:{SECRET}?#@db/books?sslmode=require", "postgresql://u@db/books?sslmode=require"),
        (f"postgresql://db/books?user=u&password={SECRET}", "postgresql://db/books?user=u"),
        (f"postgresql://db/books?p%61ssword={SECRET}&port=1", "postgresql://db/books?port=1"),
        (f"postgresql://u@h1:1,[::1]:2/books?sslpassword={SECRET}", "postgresql://u@h1:1,[::1]:2/books"),
        (f"postgresql://:{SECRET}@/books?host=/run/postgresql", "postgresql:///books?host=/run/postgresql"),
    ],
)
def test_a_url_is_shown_without_its_password(place: str, seen: str) -> None:
    assert is_database(place) and fault_of(place) == ""
    assert shown(place) == seen
    assert holds_secret(place) and not holds_secret(seen)


def test_a_url_without_a_password_is_shown_whole() -> None:
    assert shown("postgresql:///books") == "postgresql:///books"
    assert not holds_secret("postgres://u@h/books")


@pytest.mark.parametrize(
    "place",
    [
        f"postgresql://u:{SECRET}/{SECRET}@db/books",
        f"postgresql://u:{SECRET}@{SECRET}@db/books",
        f"postgresql://u:{SECRET} {SECRET}@db/books",
        f"postgresql://db/books/{SECRET}",
        f"postgresql://db/books#{SECRET}",
    ],
)
def test_a_url_that_cannot_be_read_is_a_fault_and_not_shown(place: str) -> None:
    assert "%40 for @" in fault_of(place)
    assert SECRET not in fault_of(place) + shown(place) and holds_secret(place)


@pytest.mark.parametrize("place", [f"mysql://u:{SECRET}@db/books", f"postgresql+asyncpg://u:{SECRET}@db/books"])
def test_another_kind_of_url_is_a_fault(place: str) -> None:
    assert fault_of(place) == "expected a file's path, or a URL that begins with postgresql://"


@given(st.text("abc:@/?#&=% %40", max_size=12), st.text("abc:@/?#&= ", max_size=8))
def test_whatever_stands_around_it_a_password_is_not_shown(before: str, after: str) -> None:
    password = "".join(character for character in before if character not in "@/") + SECRET
    assert SECRET not in shown(f"postgresql://u:{password}@{after}")


def test_one_database_is_one_whatever_the_password() -> None:
    names = {
        identity(place)
        for place in (
            "postgresql://u@h/books",
            f"postgres://u:{SECRET}@h/books",
            "postgresql://u@h/books?sslmode=require&application_name=x",
        )
    }
    assert len(names) == 1 and len(names.pop()) == 16
    others = ("postgresql://u@h/other", "postgresql://v@h/books", "postgresql://u@h:1/books", "postgresql://u@/books")
    assert len({identity(place) for place in others} | {identity("postgresql://u@h/books")}) == 5
