from __future__ import annotations

from msgspec.structs import replace

from streamrouter.ledger import rollups
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.series import Sample, Slot
from tests.ledger.books import NOON_NS, HeldClock, opened

MINUTE = NOON_NS // 60_000_000_000


def slot(requests: int, active: int = 1) -> Slot:
    made = Slot(active=active)
    for number in range(requests):
        made.count(
            Sample(error=number == 0, input_tokens=5, output_tokens=7, cost=11, ttft_ms=100 + number, gap_p99_ms=9)
        )
    return made


async def read(ledger: Ledger, since: int = 0, until: int = 2**40) -> list[tuple[int, Slot]]:
    return await ledger.ask(lambda raw: rollups.read(raw, since, until))


async def test_a_minute_comes_back_as_it_was_written(place: str) -> None:
    async with opened(place) as ledger:
        await ledger.act(rollups.write, {MINUTE: slot(3), MINUTE + 2: slot(1)})
        assert await read(ledger) == [(MINUTE, slot(3)), (MINUTE + 2, slot(1))]
        assert await read(ledger, MINUTE + 1) == [(MINUTE + 2, slot(1))]
        assert await read(ledger, 0, MINUTE + 2) == [(MINUTE, slot(3))]


async def test_a_minute_that_is_there_is_added_to(place: str) -> None:
    async with opened(place) as ledger:
        await ledger.act(rollups.write, {MINUTE: slot(3, active=4)})
        await ledger.act(rollups.write, {MINUTE: slot(2, active=2)})
        whole = slot(3, active=4)
        whole.merge(slot(2))
        assert await read(ledger) == [(MINUTE, whole)]


async def test_minutes_are_forgotten_after_90_days(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        await ledger.act(rollups.write, {MINUTE: slot(1)})
        clock.pass_s(rollups.KEPT_DAYS * 86_400)
        await ledger.act(rollups.write, {})
        assert len(await read(ledger)) == 1
        clock.pass_s(60)
        await ledger.act(rollups.write, {})
        assert await read(ledger) == []


async def test_a_read_is_bounded(place: str) -> None:
    async with opened(place) as ledger:
        await ledger.act(rollups.write, {MINUTE + number: Slot(requests=1) for number in range(rollups.PAGE + 1)})
        assert len(await read(ledger)) == rollups.PAGE


async def test_minutes_of_several_processes_are_added_up(place: str) -> None:
    async with opened(place) as ledger:
        for boot, requests, active in ((1, 3, 4), (2, 2, 5), (2, 1, 1)):
            await ledger.act(
                lambda book, at, boot, minutes: rollups.write(book, replace(at, boot=boot), minutes),
                boot,
                {MINUTE + number: slot(requests, active) for number in range(rollups.PAGE)},
            )
        found = await read(ledger)
        assert len(found) == rollups.PAGE, "a page is bounded by minutes, not by rows"
        whole = slot(3)
        whole.merge(slot(2))
        whole.merge(slot(1))
        whole.active = 4 + 5  # each process' own most
        assert found[0] == (MINUTE, whole) and found[-1] == (MINUTE + rollups.PAGE - 1, whole)
        assert (await read(ledger, MINUTE + 5, MINUTE + 6)) == [(MINUTE + 5, whole)]
