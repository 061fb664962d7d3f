"""The rehearsal, and waiting for a ledger. The journeys (test_restart.py) see a program take another one's place."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from streamrouter.clock import SystemClock
from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.process.succession import command, opened, rehearse


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_the_command_is_the_one_that_started_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command()[0] == sys.executable
    assert command()[1:] == sys.orig_argv[1:]
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert command()[1:] == sys.argv[1:]


async def test_a_rehearsal_tells_what_is_wrong() -> None:
    assert await rehearse(python("import sys; assert sys.argv[-1] == '--dry-run'")) == []
    assert await rehearse(python("import sys; sys.exit('one\\ntwo')")) == ["one", "two"]
    assert await rehearse(python("import os; os._exit(3)")) == ["exit code 3"]


async def test_a_program_that_is_not_there_cannot_be_rehearsed(tmp_path: Path) -> None:
    assert await rehearse([str(tmp_path / "gone")]) == ["cannot be tried: No such file or directory"]


async def test_a_rehearsal_has_an_end() -> None:
    assert await rehearse(python("import time; time.sleep(60)"), 0.05) == ["not done within 0.05 s"]


async def test_a_ledger_is_waited_for_and_that_is_said(tmp_path: Path) -> None:
    path, clock = str(tmp_path / "ledger.db"), SystemClock()
    open_ledger = partial(Ledger.open, path, config=LedgerConfig(), clock=clock, on_fatal=lambda why: None)
    file = (tmp_path / "log").open("w+")
    log = Log(clock, fd=file.fileno())
    told: list[str] = []
    first = await open_ledger()
    with pytest.raises(LedgerError, match="another streamrouter"):
        await opened(open_ledger, path, 0.0, log, told.append)
    assert told == []

    async def patient() -> Ledger:
        """The first one is closed once somebody waits for it."""
        if told:
            await first.close()
        return await open_ledger()

    second = await opened(patient, path, 60.0, log, told.append)
    await second.close()
    assert len(told) == 1 and told[0].startswith("STATUS=waiting for process ")
    with file:
        [line] = (tmp_path / "log").read_text().splitlines()
    assert '"ledger_awaited"' in line and '"at_most_s":60.0' in line


async def test_what_else_is_wrong_with_a_ledger_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a ledger" * 1000)
    clock = SystemClock()
    open_ledger = partial(Ledger.open, str(path), config=LedgerConfig(), clock=clock, on_fatal=lambda why: None)
    with pytest.raises(LedgerError):
        await opened(open_ledger, str(path), 60.0, Log(clock), lambda text: None)
