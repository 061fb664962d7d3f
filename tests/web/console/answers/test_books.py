"""Real answers are read into these Structs by the tests of each route; here: what holds of all of them."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from streamrouter.admin.shown import CAPS
from streamrouter.web.console.answers import books
from streamrouter.web.console.answers.books import Account, Answer, Entry, page_of

STRUCTS = [kind for _, kind in inspect.getmembers(books, inspect.isclass) if issubclass(kind, Answer)]


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_each_is_strict_and_says_what_it_is(kind: type[Answer]) -> None:
    assert kind.__struct_config__.forbid_unknown_fields
    assert kind.__struct_config__.frozen
    assert kind.__doc__


def test_an_account_shows_every_cap() -> None:
    assert set(CAPS) <= set(Account.__struct_fields__)


def test_a_page_has_rows_and_a_cursor() -> None:
    made: Any = page_of("Some", Entry)
    page = msgspec.convert({"data": [], "next": "7"}, made)
    assert (page.data, page.next) == ([], "7")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"data": [{"id": 1}], "next": None}, made)
