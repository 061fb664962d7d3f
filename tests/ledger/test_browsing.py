from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.ids import base32
from streamrouter.ledger import browsing
from streamrouter.ledger.browsing import Filter, Place
from streamrouter.ledger.ledger import Ledger
from tests.ledger.books import DAY, HeldClock, command, finished, opened, with_key

DAY_S = 86_400


def request_id(clock: HeldClock, number: int) -> str:
    return "req_" + base32(clock.now_ns() // 1_000_000, 10) + base32(number, 16)


class Books:
    """Forty requests of two users, one every minute; every fourth is of team-b, every eighth still open."""

    def __init__(self, ledger: Ledger, clock: HeldClock, keys: tuple[str, str]) -> None:
        self.ledger, self.clock, self.keys = ledger, clock, keys
        self.ids: list[str] = []

    async def fill(self) -> None:
        for number in range(40):
            hold_id = request_id(self.clock, number)
            key_id = self.keys[number % 4 == 3]
            model = "large" if number % 2 else "small"
            hold = await self.ledger.reserve(command(key_id=key_id, model=model, id=hold_id))
            if number % 8 != 6:
                self.ledger.settle(hold, finished(10, number, upstream="up", ttft_ms=5, gap_p99_ms=number))
            self.ids.append(hold_id)
            self.clock.pass_s(60)

    async def pages(self, limit: int = 7, look: int = 5, **wanted: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page, cursor = await self.ledger.ask(
                lambda raw, at=before: browsing.requests(raw, Filter(**wanted), at, limit, look)  # type: ignore[misc]
            )
            assert len(page) <= limit
            found += page
            if cursor is None:
                return found
            assert before == "" or cursor < before
            before = cursor


@pytest_asyncio.fixture
async def books(place: str) -> AsyncIterator[Books]:
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        made = Books(ledger, clock, (await with_key(ledger), await with_key(ledger, "team-b")))
        await made.fill()
        yield made


async def numbers(books: Books, **wanted: Any) -> list[int]:
    return [books.ids.index(row["id"]) for row in await books.pages(**wanted)]


@pytest.mark.parametrize(("limit", "look"), [(1, 1), (7, 5), (5, 7), (40, 40), (500, 4000)])
async def test_pages_bring_every_request_once_newest_first(books: Books, limit: int, look: int) -> None:
    assert await numbers(books, limit=limit, look=look) == list(range(39, -1, -1))


async def test_what_a_row_says(books: Books) -> None:
    row = (await books.pages())[0]
    assert row.pop("created_ns") == books.clock.now_ns() - 60 * 10**9
    assert row == {
        "id": books.ids[39],
        "user": "team-b",
        "key": row["key"],
        "key_id": books.keys[1],
        "surface": "main",
        "model": "large",
        "upstream": "up",
        "stream": 1,
        "state": "settled",
        "end": "finished",
        "usage_source": "upstream",
        "input_tokens": 10,
        "cached_tokens": 0,
        "output_tokens": 39,
        "cost": 10 * 150 + 39 * 600,
        "spent": 0,
        "ttft_ms": 5,
        "duration_ms": 0,
        "gap_p99_ms": 39,
        "held_input": 100,
        "held_output": 500,
        "held": 0,
    }


async def test_each_filter(books: Books) -> None:
    newest_first = list(range(39, -1, -1))
    account = (await books.ledger.accounts())[1]
    display = (await books.ledger.keys("team-b"))[0].display
    of_b = [number for number in newest_first if number % 4 == 3]
    assert await numbers(books, account_id=account.id) == of_b
    assert await numbers(books, key=books.keys[1]) == await numbers(books, key=display) == of_b
    assert await numbers(books, model="small") == [number for number in newest_first if number % 2 == 0]
    settled = [number for number in newest_first if number % 8 != 6]
    assert await numbers(books, upstream="up") == await numbers(books, end="finished") == settled
    assert await numbers(books, source="upstream") == settled
    assert await numbers(books, since=books.ids[10][:14], until=books.ids[20][:14]) == list(range(19, 9, -1))
    assert await numbers(books, account_id=account.id, model="large", since=books.ids[30][:14]) == [39, 35, 31]
    assert await numbers(books, model="' OR 1 = 1 --") == []


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_the_statements_read_no_more_than_their_span(books: Books) -> None:
    names = ("account", "before", "since", "key", "model", "upstream", "end", "source", "look", "limit")

    def plan(raw: Any, statement: str) -> str:
        return "\n".join(row[3] for row in raw.execute("EXPLAIN QUERY PLAN " + statement, dict.fromkeys(names, "")))

    for statement in (browsing._REQUESTS, browsing._LAST):
        told = await books.ledger.ask(lambda raw, s=statement: plan(raw, s))  # type: ignore[misc]
        assert "PRIMARY KEY (id>? AND id<?)" in told
        assert "TEMP B-TREE" not in told


async def test_the_balance_runs_back_from_now(books: Books) -> None:
    ledger = books.ledger
    await ledger.credit("team-a", [("payment", 10**9), ("fee", -(10**8))], "inv-1")
    hold = await ledger.reserve(command(key_id=books.keys[0], prepaid=True))
    await ledger.settle_durably(hold, finished(10, 10))
    books.clock.pass_s(DAY_S)
    await ledger.credit("team-a", [("payment", 5)])
    found, place = [], None
    while True:
        rows, place = await ledger.ask(lambda raw, at=place: browsing.entries(raw, "team-a", at, 2))  # type: ignore[misc]
        found += rows
        if place is None:
            break
        assert isinstance(place, Place)
    assert [(row["kind"], row["amount"], row["ref"], row["balance"]) for row in found] == [
        ("payment", 5, None, 900_000_000 - 7500 + 5),
        ("usage", -7500, None, 900_000_000 - 7500),
        ("fee", -(10**8), "inv-1", 900_000_000),
        ("payment", 10**9, "inv-1", 10**9),
    ]
    assert [row["day"] for row in found] == [None, DAY, None, None]
    with pytest.raises(LookupError):
        await ledger.ask(lambda raw: browsing.entries(raw, "nobody", None, 2))


async def test_everybodys_entries_and_the_audit_by_pages(books: Books) -> None:
    await books.ledger.credit("team-a", [("payment", 3), ("fee", -1)])
    await books.ledger.credit("team-b", [("payment", 2)])
    first, cursor = await books.ledger.ask(lambda raw: browsing.all_entries(raw, None, 2))
    assert [(row["user"], row["amount"]) for row in first] == [("team-b", 2), ("team-a", -1)]
    rest, cursor = await books.ledger.ask(lambda raw: browsing.all_entries(raw, cursor, 2))
    assert ([(row["user"], row["amount"]) for row in rest], cursor) == ([("team-a", 3)], None)
    audit, cursor = await books.ledger.ask(lambda raw: browsing.audit(raw, None, 1))
    assert (audit[0]["action"], cursor) == ("credited", audit[0]["number"])
    rest, cursor = await books.ledger.ask(lambda raw: browsing.audit(raw, cursor, 100))
    assert (rest[-1]["action"], cursor) == ("account_created", None)


async def test_what_a_day_came_to(books: Books) -> None:
    settled = [number for number in range(40) if number % 8 != 6]
    assert await books.ledger.ask(lambda raw: browsing.cost_of_day(raw, DAY)) == sum(1500 + 600 * n for n in settled)
    assert await books.ledger.ask(lambda raw: browsing.cost_of_day(raw, DAY + 1)) == 0
