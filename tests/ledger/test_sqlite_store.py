from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.lock import holder
from tests.ledger.books import FAST, HeldClock, command, no_fatal, opened, with_key


async def test_the_file_is_this_process_alone_while_it_is_open(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    async with opened(path) as ledger:
        found = holder(path)
        assert found is not None and (found.pid, found.boot, found.socket) == (os.getpid(), 1, path + ".sock")
        with pytest.raises(LedgerError, match=f"pid {os.getpid()}"):
            await Ledger.open(path, config=FAST, clock=HeldClock(), on_fatal=no_fatal)
        await with_key(ledger)
    async with opened(path) as ledger:
        assert ledger.boot == 2


async def test_a_start_that_fails_lets_go_of_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    Path(path).write_bytes(b"no ledger" * 1000)
    with pytest.raises(LedgerError, match="damaged"):
        await Ledger.open(path, config=FAST, clock=HeldClock(), on_fatal=no_fatal)
    Path(path).unlink()
    async with opened(path) as ledger:
        assert ledger.boot == 1


async def test_what_is_closed_is_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    async with opened(path) as ledger:
        await ledger.reserve(command(key_id=await with_key(ledger)))
        await ledger.backup(str(tmp_path / "copy.db"))
    assert not os.path.exists(path + "-wal")
    for each in (path, tmp_path / "copy.db"):
        raw = sqlite3.connect(each)
        assert raw.execute("SELECT count(*) FROM hold").fetchone() == (1,)
        raw.close()
