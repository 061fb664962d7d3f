from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import invariants
from tests.ledger.books import command, finished, opened, with_key


async def test_a_backup_of_running_books_holds_all_that_was_put_before(tmp_path: Path) -> None:
    copy = str(tmp_path / "copy.db")
    async with opened(str(tmp_path / "l.db")) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        ledger.settle(hold, finished(100, 50))
        await ledger.backup(copy)
        await ledger.settle_durably(await ledger.reserve(command(key_id=key_id)), finished(100, 7))
        assert (await ledger.usage("team-a")).output["used"] == 57
    raw = sqlite3.connect(copy)
    assert raw.execute("SELECT posted_output FROM usage_day").fetchall() == [(50,)]
    assert invariants.check(raw) == []
    raw.close()
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "l.db", "l.db.ballast", "l.db.lock"]
    assert os.stat(copy).st_mode & 0o777 == 0o600
    async with opened(copy) as ledger:  # a backup is a ledger
        assert (await ledger.usage("team-a")).output["used"] == 50


async def test_a_backup_never_overwrites_and_says_where_it_failed(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    async with opened(str(tmp_path / "l.db")) as ledger:
        with pytest.raises(LedgerError, match="exists already"):
            await ledger.backup(str(taken))
        with pytest.raises(LedgerError, match="could not be written: No such file"):
            await ledger.backup(str(tmp_path / "no" / "where"))
    assert taken.read_text() == "mine"
