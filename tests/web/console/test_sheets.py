from __future__ import annotations

import asyncio
import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.admin.desk import AdminError
from streamrouter.web.console.sheets import Sheet, cell, line
from tests.support.asgi import ask


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (7, "7"),
        (-7, "-7"),
        ("-12.50", "-12.50"),
        ("12", "12"),
        ("=1+1", "'=1+1"),
        ("+44 20", "'+44 20"),
        ("-2+3", "'-2+3"),
        ("-1.2.3", "'-1.2.3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", '"\'\r=1"'),
        ('=HYPERLINK("http://x")', '"\'=HYPERLINK(""http://x"")"'),
        ("a,b", '"a,b"'),
        ("a\nb", '"a\nb"'),
        ("ä…", "ä…"),
    ],
)
def test_a_cell(value: Any, text: str) -> None:
    assert cell(value) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_reader_reads_it_back_and_no_cell_is_a_formula(values: list[str]) -> None:
    [read] = csv.reader(io.StringIO(line([*values, "end"]).decode(), newline=""), strict=True)
    for value, found in zip([*values, "end"], read, strict=True):
        assert found in (value, "'" + value)
        assert not found.startswith(("=", "+", "@", "\t", "\r"))


async def pages(cursor: str) -> dict[str, Any]:
    number = int(cursor or 0)
    return {"data": [{"a": number, "b": "=x"}], "next": str(number + 1) if number < 3 else None}


async def test_all_pages_are_one_file() -> None:
    sheet = await Sheet("rows", ["b", "a"], pages, lambda: False).begin()
    answer = await ask(sheet)
    assert answer.headers["content-type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="rows.csv"'
    assert answer.body == b"b,a\r\n'=x,0\r\n'=x,1\r\n'=x,2\r\n'=x,3\r\n"
    assert len(answer.messages) == 5
    assert answer.messages[-1]["more_body"] is False


async def test_nothing_is_read_for_a_client_that_left() -> None:
    asked: list[str] = []

    async def endless(cursor: str) -> dict[str, Any]:
        asked.append(cursor)
        await asyncio.sleep(0)
        return {"data": [{"a": 1}], "next": "on"}

    answer = await ask(await Sheet("rows", ["a"], endless, lambda: False).begin(), leaves=True)
    assert len(asked) < 5 and answer.messages[-1]["more_body"] is True
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_what_is_refused_is_refused_before_a_status() -> None:
    async def refused(cursor: str) -> dict[str, Any]:
        raise AdminError("not_found", "no")

    with pytest.raises(AdminError):
        await Sheet("rows", ["a"], refused, lambda: False).begin()


async def test_a_file_that_cannot_be_finished_does_not_look_finished() -> None:
    async def failing(cursor: str) -> dict[str, Any]:
        if cursor:
            raise AdminError("ledger_unavailable", "not now")
        return await pages(cursor)

    for sheet in (Sheet("rows", ["a"], failing, lambda: False), Sheet("rows", ["a"], pages, lambda: True)):
        answer = await ask(await sheet.begin())
        assert answer.body == b"a\r\n0\r\n"
        assert answer.messages[-1]["more_body"] is True
