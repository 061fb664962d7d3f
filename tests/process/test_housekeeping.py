from __future__ import annotations

import asyncio
import gc
import json
import os
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Idempotency
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.process import housekeeping
from streamrouter.process.housekeeping import Housekeeping
from tests.ledger.books import HeldClock, command, finished, opened, until, with_key

KEEP_TWO = LedgerConfig(durability="normal", busy_timeout_s=0.1, retain_holds_days=2)


class House:
    def __init__(self, folder: Path, ledger: Ledger, clock: HeldClock) -> None:
        self.ledger, self.clock, self.metrics = ledger, clock, Metrics()
        self._log = folder / "log"
        fd = os.open(self._log, os.O_WRONLY | os.O_CREAT)
        self.keeping = Housekeeping(ledger, Log(clock, fd=fd), self.metrics)

    def when_idle(self) -> Housekeeping:
        return Housekeeping(self.ledger, Log(self.clock, fd=1), self.metrics, idle=lambda: True)

    def events(self) -> list[Any]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def metric(self) -> str:
        page = self.metrics.render().decode()
        return next(line for line in page.splitlines() if line.startswith("streamrouter_ledger_invariants "))


@pytest_asyncio.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(housekeeping, "BREATH_S", 0)
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock, config=KEEP_TWO) as ledger:
        yield House(tmp_path, ledger, clock)


async def test_a_breach_is_counted_logged_and_gone_when_it_is_mended(house: House) -> None:
    key_id = await with_key(house.ledger)
    await house.ledger.settle_durably(await house.ledger.reserve(command(key_id=key_id)), finished())
    await house.keeping.once()
    assert house.metric().endswith(" 0.0")
    await house.ledger.ask(lambda raw: raw.execute("UPDATE usage_day SET posted_output = posted_output + 1"))
    await house.keeping.once()
    assert house.metric().endswith(" 1.0")
    await until(lambda: [e for e in house.events() if e["event"] == "ledger_wrong" and "posted" in e["detail"]])
    await house.ledger.ask(lambda raw: raw.execute("UPDATE usage_day SET posted_output = posted_output - 1"))
    await house.keeping.once()
    assert house.metric().endswith(" 0.0")


async def test_old_holds_and_keys_go(house: House) -> None:
    key_id = await with_key(house.ledger)
    wanted = command(key_id=key_id, idempotency=Idempotency("once", b"f"))
    await house.ledger.settle_durably(await house.ledger.reserve(wanted), finished())
    house.clock.pass_s(3 * 86_400)
    await house.keeping.once()
    for table in ("hold", "idempotency"):
        query = f"SELECT count(*) FROM {table}"  # noqa: S608 - names of this test
        assert await house.ledger.ask(lambda raw, query=query: raw.execute(query).fetchone()) == (0,)  # type: ignore[misc]
    assert await house.ledger.check() == []
    await until(lambda: [e for e in house.events() if e["event"] == "holds_pruned" and e["holds"] == 1])


async def test_a_file_that_cannot_be_written_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    async def once() -> None:
        nonlocal rounds
        rounds += 1
        raise Refusal("ledger_unavailable", "not now")

    monkeypatch.setattr(house.keeping, "once", once)
    running = asyncio.create_task(house.keeping.run(0.001))
    await until(lambda: rounds > 2)
    running.cancel()
    await until(lambda: [e for e in house.events() if e["event"] == "housekeeping_skipped"])


class Cycle:
    def __init__(self) -> None:
        self.me = self


async def test_what_is_left_in_cycles_goes_while_nothing_is_in_flight(house: House) -> None:
    gc.disable()  # else it may go by itself
    try:
        left = weakref.ref(Cycle())
        task = asyncio.create_task(house.when_idle().run(period_s=0))
        await until(lambda: left() is None)
        task.cancel()
    finally:
        gc.enable()
