from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from streamrouter.admin.watch import Watch
from streamrouter.errors import Refusal
from streamrouter.ledger import rollups
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.series import Sample
from streamrouter.process.recording import Recording
from tests.ledger.books import HeldClock, opened, until


class Recorder:
    def __init__(self, folder: Path, ledger: Ledger, clock: HeldClock) -> None:
        self.ledger, self.clock, self.active = ledger, clock, 0
        self.watch = Watch(self.now_s())
        fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        self.recording = Recording(ledger, self.watch, lambda: self.active, Log(clock, fd=fd))

    def now_s(self) -> int:
        return self.clock.now_ns() // 1_000_000_000

    def count(self) -> None:
        self.watch.series.count(self.now_s(), Sample(input_tokens=1))

    async def written(self) -> list[tuple[int, int, int]]:
        found = await self.ledger.ask(lambda raw: rollups.read(raw, 0, 2**40))
        return [(minute - self.now_s() // 60, slot.requests, slot.active) for minute, slot in found]


async def test_a_minute_is_written_once_it_is_over(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        recorder = Recorder(tmp_path, ledger, clock)
        for _ in range(12):
            recorder.count()
            recorder.active += 1
            await recorder.recording.once()
            clock.pass_s(5)
        assert await recorder.written() == []
        recorder.active = 0
        await recorder.recording.once()
        assert await recorder.written() == [(-1, 12, 12)]
        await recorder.recording.once()
        assert await recorder.written() == [(-1, 12, 12)]


async def test_the_last_minute_is_written_at_the_end(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        recorder = Recorder(tmp_path, ledger, clock)
        recorder.count()
        await recorder.recording.flush()
        assert await recorder.written() == [(0, 1, 0)]


async def test_what_cannot_be_written_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        recorder = Recorder(tmp_path, ledger, clock)
        recorder.count()
        clock.pass_s(60)

        async def refused(*arguments: object) -> None:
            raise Refusal("ledger_unavailable", "not now")

        with monkeypatch.context() as patched:
            patched.setattr(ledger, "act", refused)
            await recorder.recording.once()
        assert await recorder.written() == []
        recorder.count()
        clock.pass_s(60)
        await recorder.recording.once()
        assert await recorder.written() == [(-2, 1, 0), (-1, 1, 0)]


async def test_it_looks_until_it_is_cancelled(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        recorder = Recorder(tmp_path, ledger, clock)
        recorder.active = 3
        running = asyncio.create_task(recorder.recording.run(0.001))
        await until(lambda: recorder.watch.series.between(recorder.now_s(), recorder.now_s() + 1).active == 3)
        running.cancel()
