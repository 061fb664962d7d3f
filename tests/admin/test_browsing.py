"""The verbs as the control socket has them; tests/web/console/ asks the same over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streamrouter.admin import browsing as verbs
from streamrouter.admin.browsing import moment, to_the_millisecond
from streamrouter.admin.desk import AdminError, Desk
from streamrouter.admin.verbs import perform
from streamrouter.config.schema import Config
from streamrouter.ids import base32
from streamrouter.ledger import browsing
from tests.ledger.books import NOON_NS, HeldClock, command, finished, opened, with_key

NOW_NS = 1_800_000_000_123_456_789


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", 1_799_999_100.123456789),
        ("24h", 1_799_913_600.123456789),
        ("7d", 1_799_395_200.123456789),
        ("2027-01-15T08:00:00Z", 1_800_000_000),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000),
        ("2027-01-15T08:00:00.250", 1_800_000_000.25),
        ("2027-01-15", 1_799_971_200),
        ("1960-01-01", 0),
        ("99999d", 0),
    ],
)
def test_a_moment_or_a_span_back_from_now(text: str, seconds: float) -> None:
    assert abs(moment(text, NOW_NS) - seconds * 1e9) < 1000


@pytest.mark.parametrize("text", ["", "now", "7", "7y", "-1d", "2027-13-01", "15 m"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        moment(text, NOW_NS)


def test_a_time_to_the_millisecond() -> None:
    assert to_the_millisecond(NOW_NS) == "2027-01-15T08:00:00.123Z"
    assert to_the_millisecond(0) == "1970-01-01T00:00:00.000Z"


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        key_id = await with_key(ledger)
        for number in range(30):
            hold_id = "req_" + base32(NOON_NS // 1_000_000, 10) + base32(number, 16)
            hold = await ledger.reserve(command(key_id=key_id, id=hold_id, model="rare" if number == 0 else "usual"))
            ledger.settle(hold, finished())
        yield Desk(ledger, Config())


async def test_a_page_looks_on_until_it_is_full_or_has_looked_enough(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    read = browsing.requests

    def two(raw: object, wanted: object, before: str, limit: int) -> object:
        looked.append(limit)
        return read(raw, wanted, before, limit, 2)  # type: ignore[arg-type]

    monkeypatch.setattr(browsing, "requests", two)
    monkeypatch.setattr(verbs, "LOOKS", 10)
    page = await perform(desk, "requests.list", {"model": "rare"})
    assert (page["data"], len(looked)) == ([], 10)
    page = await perform(desk, "requests.list", {"model": "rare", "cursor": page["next"]})
    assert ([row["model"] for row in page["data"]], page["next"]) == (["rare"], None)
    page = await perform(desk, "requests.list", {"limit": 5})
    assert len(page["data"]) == 5


async def test_one_request_of_one_user(desk: Desk) -> None:
    [row] = (await perform(desk, "requests.list", {"limit": 1}))["data"]
    found = await perform(desk, "requests.show", {"id": row["id"], "user": "team-a"})
    assert (found["id"], found["attempts"]) == (row["id"], None)
    await desk.ledger.create_account("team-b", {})
    for wanted in ({"id": row["id"], "user": "team-b"}, {"id": "req_none"}):
        with pytest.raises(AdminError) as raised:
            await perform(desk, "requests.show", wanted)
        assert raised.value.code == "not_found"


async def test_everybody_and_somebody(desk: Desk) -> None:
    await desk.ledger.create_account("team-b", {})
    found = await perform(desk, "user.overview", {})
    assert [(row["user"], row["keys"], row["usage"]["input"]["used"]) for row in found] == [
        ("team-a", 1, 3000),
        ("team-b", 0, 0),
    ]
    assert await perform(desk, "user.overview", {"user": "team-a"}) == found[:1]
