"""Old holds become one row per account, key, model and day; the books stay right at every step."""

from __future__ import annotations

import pytest

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal
from streamrouter.ledger import retention
from streamrouter.ledger.ledger import Ledger, Replayed
from streamrouter.ledger.records import Idempotency
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, finished, opened, with_key

KEEP_TWO = LedgerConfig(durability="normal", busy_timeout_s=0.1, retain_holds_days=2)


async def days_of_use(ledger: Ledger, clock: HeldClock, key_id: str, days: int, each: int) -> None:
    for day in range(days):
        for number in range(each):
            name = f"req_{day:04d}_{number:04d}"
            hold = await ledger.reserve(command(key_id=key_id, id=name, prepaid=True))
            ledger.settle(hold, released("tested") if number == 1 else finished(100, 50, cached_tokens=10))
        clock.pass_s(86_400)


async def pruned(ledger: Ledger) -> int:
    """Prune to the end; the books are checked after every step."""
    removed, after = 0, ""
    while True:
        step = await ledger.prune(after)
        assert await ledger.check() == []
        removed += step.removed
        if step.next is None:
            return removed
        after = step.next


async def count(ledger: Ledger, table: str) -> int:
    query = f"SELECT count(*) FROM {table}"  # noqa: S608 - names of this file
    found: int = await ledger.ask(lambda raw: raw.execute(query).fetchone()[0])
    return found


async def test_old_holds_are_archived_and_nothing_else_changes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 3)
    clock = HeldClock()
    async with opened(place, clock, config=KEEP_TWO) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10**12)])
        still_open = await ledger.reserve(command(key_id=key_id, id="req_0000_000", prepaid=True))
        await days_of_use(ledger, clock, key_id, days=5, each=4)
        before = await ledger.usage("team-a")
        assert await pruned(ledger) == 3 * 4  # today is day 5: the days 3 and 4 are kept
        assert await count(ledger, "hold") == 2 * 4 + 1
        assert await count(ledger, "usage_archive") == 3
        assert await ledger.usage("team-a") == before
        ledger.settle(still_open, finished(100, 1))
        assert await pruned(ledger) == 1
        row = await ledger.ask(lambda raw: raw.execute("SELECT * FROM usage_archive ORDER BY day").fetchone())
        assert row[4:9] == (4, 400, 151, 30, 0)
        assert await pruned(ledger) == 0


async def test_without_a_limit_everything_is_kept(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        await days_of_use(ledger, clock, await with_key(ledger, unlimited=True), days=4, each=2)
        assert await ledger.prune() == retention.Pruned(0, None)
        assert await count(ledger, "hold") == 8


async def test_an_open_hold_cannot_be_deleted(place: str) -> None:
    async with opened(place) as ledger:
        await ledger.reserve(command(key_id=await with_key(ledger)))
        with pytest.raises(Exception, match="never deleted"):
            await ledger.act(lambda book, at: book.connection.execute("DELETE FROM hold"))


async def test_idempotency_keys_go_after_a_day_and_their_answers_with_them(place: str) -> None:
    clock = HeldClock()
    once = Idempotency("once", b"f" * 32)
    async with opened(place, clock, config=KEEP_TWO) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id, idempotency=once, stream=False))
        with pytest.raises(Refusal, match="still running"):
            await ledger.reserve(command(key_id=key_id, idempotency=once))
        await ledger.settle_durably(hold, finished(), b'{"id": 1}')
        with pytest.raises(Replayed) as replayed:
            await ledger.reserve(command(key_id=key_id, idempotency=once))
        assert (replayed.value.stored.hold_id, replayed.value.stored.body) == (hold.id, b'{"id": 1}')
        assert await ledger.expire() == 0
        clock.pass_s(86_400)
        assert await ledger.expire() == 1
        assert await count(ledger, "idempotency") == 0
        again = await ledger.reserve(command(key_id=key_id, idempotency=once))
        ledger.settle(again, finished())
        assert await ledger.check() == []


async def test_a_pruned_hold_takes_its_idempotency_key_along(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock, config=KEEP_TWO) as ledger:
        hold = await ledger.reserve(command(key_id=await with_key(ledger), idempotency=Idempotency("a", b"f")))
        await ledger.settle_durably(hold, finished())
        clock.pass_s(4 * 86_400)
        assert await pruned(ledger) == 1
        assert await count(ledger, "idempotency") == 0
