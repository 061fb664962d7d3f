from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from streamrouter.ledger import reports
from streamrouter.ledger.ledger import Ledger
from streamrouter.policy.endings import released
from tests.ledger.books import DAY, HeldClock, command, finished, opened, with_key


@pytest_asyncio.fixture
async def ledger(place: str) -> AsyncIterator[Ledger]:
    """Two users: team-a with two models on two days, team-b with one request."""
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        first, second = await with_key(ledger), await with_key(ledger, "team-b")
        await ledger.credit("team-a", [("payment", 10**9), ("fee", -(10**8))], "inv-1")
        for number, (key_id, model) in enumerate([(first, "large"), (first, "small"), (second, "small")]):
            hold = await ledger.reserve(command(key_id=key_id, model=model, id=f"req_{number}", prepaid=number < 2))
            ledger.settle(hold, finished(100, 10 * (number + 1), cached_tokens=40))
        clock.pass_s(86_400)
        hold = await ledger.reserve(command(key_id=first, model="small", id="req_3", prepaid=True))
        ledger.settle(hold, finished(50, 5))
        ledger.settle(await ledger.reserve(command(key_id=first, id="req_4")), released("cancelled"))
        await ledger.reserve(command(key_id=second, id="req_5"))
        yield ledger


async def rows(ledger: Ledger, by: reports.By, since: int = 0, name: str | None = None) -> list[tuple[object, ...]]:
    found = await ledger.ask(lambda raw: reports.report(raw, by, since, name))
    return [(row[by], row["requests"], row["input"], row["output"], row["cached"]) for row in found]


async def test_a_report_by_each_of_its_columns(ledger: Ledger) -> None:
    assert await rows(ledger, "day") == [("2024-10-04", 3, 300, 60, 120), ("2024-10-05", 1, 50, 5, 0)]
    assert await rows(ledger, "model") == [("small", 3, 250, 55, 80), ("large", 1, 100, 10, 40)]
    assert await rows(ledger, "account") == [("team-a", 3, 250, 35, 80), ("team-b", 1, 100, 30, 40)]
    assert [row[1:] for row in await rows(ledger, "key")] == [(3, 250, 35, 80), (1, 100, 30, 40)]


async def test_a_report_of_some_days_and_of_one_user(ledger: Ledger) -> None:
    assert await rows(ledger, "model", DAY + 1) == [("small", 1, 50, 5, 0)]
    assert await rows(ledger, "model", 0, "team-b") == [("small", 1, 100, 30, 40)]
    with pytest.raises(LookupError, match="no user 'nobody'"):
        await rows(ledger, "model", 0, "nobody")


async def test_the_history_ends_at_the_balance(ledger: Ledger) -> None:
    lines = await ledger.ask(lambda raw: reports.history(raw, "team-a"))
    assert [(line["kind"], line["ref"]) for line in lines if line["kind"] != "usage"] == [
        ("payment", "inv-1"),
        ("fee", "inv-1"),
    ]
    assert [line["day"] for line in lines if line["kind"] == "usage"] == ["2024-10-04", "2024-10-05"]
    usage = await ledger.usage("team-a")
    assert lines[-1]["balance_usd"] == f"{(usage.credited - usage.spent) / 1e9:.9f}".rstrip("0")


async def test_one_request_is_found_by_its_id(ledger: Ledger) -> None:
    row = await ledger.ask(lambda raw: reports.hold(raw, "req_1"))
    assert (row["account"], row["model"], row["s_input"], row["s_cached"]) == ("team-a", "small", 100, 40)
    with pytest.raises(LookupError, match="refused, or removed"):
        await ledger.ask(lambda raw: reports.hold(raw, "req_9"))


@pytest.mark.parametrize(("table", "size"), [("requests", 5), ("entries", 2), ("usage", 4)])
async def test_pages_bring_every_row_once(ledger: Ledger, table: reports.Table, size: int) -> None:
    after, seen = "", []
    while True:
        page = await ledger.ask(lambda raw, after=after: reports.page(raw, table, after, 2))  # type: ignore[misc]
        seen += [row["id"] for row in page]
        if len(page) < 2:
            break
        after = page[-1]["id"]
    assert len(seen) == len(set(seen)) == size
    assert "req_5" not in seen
