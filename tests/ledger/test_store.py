from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from streamrouter.ledger.days import DAY_NS
from streamrouter.ledger.store import Store
from tests.ledger.books import DAY, NOON_NS, HeldClock, command, opened, with_key


async def test_both_keep_the_same_books(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        store: Store = ledger._store
        took: list[float] = []
        ledger.on_committed = took.append
        key_id = await with_key(ledger)
        await ledger.reserve(command(key_id=key_id))
        assert store.boot == ledger.boot >= 1 and took
        assert (store.day, store.alarm, store.now_ns) == (DAY, None, NOON_NS)


async def test_the_day_is_accepted_by_an_operator_only(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock) as ledger:
        key_id = await with_key(ledger)
        clock.wall_ns += 30 * DAY_NS
        assert ledger.day == DAY and "leapt 720 hours" in (ledger.clock_alarm or "")
        await ledger.reserve(command(key_id=key_id))
        assert await ledger.accept_day("me") == DAY + 30
        assert (ledger.day, ledger.clock_alarm) == (DAY + 30, None)
        await ledger.reserve(command(key_id=key_id))
        days = await ledger.ask(lambda raw: raw.execute("SELECT day FROM hold ORDER BY id").fetchall())
        assert days == [(DAY,), (DAY + 30,)]
        clock.wall_ns -= 20 * DAY_NS
        assert await ledger.accept_day() == DAY + 10
        assert await ledger.check() == []


async def test_a_key_that_nobody_made_is_not_found(place: str) -> None:
    async with opened(place) as ledger:
        assert await ledger.find(b"x" * 32) is None


async def test_the_numbers_of_runs_do_not_repeat(place: str, tmp_path: Path) -> None:
    boots = []
    for _ in range(3):
        async with opened(place) as ledger:
            boots.append(ledger.boot)
    assert boots == [1, 2, 3]


def test_the_driver_is_an_extra_that_a_file_does_not_need() -> None:
    script = """
import asyncio, sys
sys.modules["psycopg"] = None
from streamrouter.clock import SystemClock
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
try:
    asyncio.run(Ledger.open("postgresql://h/d", config=LedgerConfig(), clock=SystemClock(), on_fatal=print))
except LedgerError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'streamrouter[postgres]'" in told.stdout and told.stderr == ""
