"""docs/reliability.md against the tests: it is current, every row has a test, every test that names a row has one."""

from __future__ import annotations

import pytest

from tests.reliability import NARROWER, PAGE, PARTS, collected, page, rows

FOUND = collected()
ROWS = [row for text in PARTS.values() for row, *_ in rows(text)]


def test_the_document_is_current() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.reliability"


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_test(row: str) -> None:
    assert FOUND.get(row), f"nothing holds {row}"


def test_every_row_that_is_asked_for_is_there_once() -> None:
    numbers = [*range(1, 41), 43, 50, 51]
    assert {f"F{number}" for number in numbers} <= set(ROWS)
    assert len(ROWS) == len(set(ROWS))
    assert all(len(cells) == 4 for text in PARTS.values() for cells in rows(text))


def test_no_test_names_a_row_that_is_not_there() -> None:
    assert set(FOUND) <= set(ROWS)
    assert set(NARROWER) <= set(ROWS)
