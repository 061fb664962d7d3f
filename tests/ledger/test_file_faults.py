"""What the ledger does when its file fails it: locked, full, damaged, taken, unwritable (the n-th write fails)."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamrouter.errors import LedgerError, Refusal
from streamrouter.ledger import schema
from streamrouter.ledger import writer as writer_module
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.lock import holder
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, finished, opened, quiet, until, with_key

USD = 1_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "l.db")


async def test_a_database_locked_by_another_program(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.read()"
    )
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        # Another process: a second connection of ours would drop SQLite's locks when it closes.
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert other.stdout is not None and await other.stdout.readline() == b"held\n"
            ledger.settle(hold, finished(100, 200))
            with pytest.raises(Refusal) as refused:
                await ledger.reserve(command(key_id=key_id))
            assert (refused.value.code, refused.value.rule.status) == ("ledger_unavailable", 503)
            assert "locked" in (ledger.health() or "")
        finally:
            await other.communicate(b"")
        await until(lambda: ledger.health() is None)
        assert (await ledger.usage("team-a")).output["used"] == 200
        await quiet(ledger)


async def test_a_full_disk_refuses_new_requests_lands_settlements_and_recovers(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        await ledger.settle_durably(await ledger.reserve(command(key_id=key_id)), finished(100, 50))
        raw = await ledger.ask(lambda raw: raw)
        (pages,) = await ledger.ask(lambda raw: raw.execute("PRAGMA page_count").fetchone())
        await ledger.ask(lambda raw: raw.execute(f"PRAGMA max_page_count = {pages}").fetchone())
        holds = []
        with pytest.raises(Refusal) as refused:
            for _ in range(2000):
                holds.append(await ledger.reserve(command(key_id=key_id, id=f"req_{os.urandom(200).hex()}")))
        assert refused.value.code == "ledger_unavailable" and "full" in (ledger.health() or "")
        ledger.settle(hold, finished(100, 200))
        raw.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone()  # the room that the ballast's file gave back
        await until(lambda: ledger.health() is None)
        assert (await ledger.usage("team-a")).output["used"] == 250
        await ledger.ask(lambda raw: raw.execute("PRAGMA max_page_count = 1000000").fetchone())
        for late in holds:
            ledger.settle(late, released("tested"))
        await ledger.settle_durably(await ledger.reserve(command(key_id=key_id)), finished(100, 1))
        assert (await ledger.usage("team-a")).output == {"used": 251, "reserved": 0, "cap": None}
        await quiet(ledger)


class FailingConnection(sqlite3.Connection):
    """A connection whose n-th statement of writing fails, once."""

    countdown = -1
    code = sqlite3.SQLITE_IOERR_WRITE

    def _strike(self, sql: str) -> None:
        if not sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")) and FailingConnection.countdown >= 0:
            FailingConnection.countdown -= 1
            if FailingConnection.countdown == -1:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = FailingConnection.code
                raise error

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._strike(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._strike(sql)
        return super().executemany(sql, *parameters)


def failing(path: str, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(path, factory=FailingConnection, **options)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT])
async def test_whichever_write_fails_the_books_are_right(path: str, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    monkeypatch.setattr(FailingConnection, "code", code)
    async with opened(path, factory=failing) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", USD)])
        passed = fails = charged = 0
        while passed < 3:
            hold = None
            FailingConnection.countdown = fails
            try:
                hold = await ledger.reserve(command(key_id=key_id, prepaid=True))
            except Refusal as refusal:
                assert refusal.code == "ledger_unavailable"
                await until(lambda: ledger.health() is None)
            if hold is not None:
                assert (await ledger.settle_durably(hold, finished(100, 200))).cost == 135_000
                charged += 135_000
                passed += FailingConnection.countdown >= 0
            FailingConnection.countdown = -1
            await until(lambda: ledger.health() is None)
            await quiet(ledger)
            fails += 1
        usage = await ledger.usage("team-a")
        assert (usage.spent, usage.reserved_usd, usage.in_flight) == (charged, 0, 0)
        assert fails > 5


async def test_an_io_error_stops_the_process(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailingConnection, "code", sqlite3.SQLITE_IOERR_FSYNC)
    fatal: list[str] = []
    async with opened(path, factory=failing, on_fatal=fatal.append) as ledger:
        key_id = await with_key(ledger)
        FailingConnection.countdown = 0
        with pytest.raises(Refusal):
            await ledger.reserve(command(key_id=key_id))
        await until(lambda: fatal)
        assert "disk I/O error" in fatal[0] and ledger.health() == fatal[0]


async def test_a_second_process_is_told_the_first_one_and_does_it_no_harm(path: str) -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.ledger.books import opened\n"
        "async def main():\n"
        "    async with opened(sys.argv[1]): pass\n"
        "asyncio.run(main())\n"
    )
    async with opened(path) as ledger:
        second = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, stderr=subprocess.PIPE)
        _, said = await second.communicate()
        assert second.returncode == 1
        assert f"LedgerError: {os.path.realpath(path)}: another streamrouter (pid {os.getpid()})" in said.decode()
        with pytest.raises(LedgerError, match="another streamrouter"):
            await Ledger.open(path, config=ledger._config, clock=HeldClock(), on_fatal=lambda why: None)
        assert await with_key(ledger)
        found = holder(os.path.realpath(path))
        assert found is not None and (found.boot, found.socket) == (1, os.path.realpath(path) + ".sock")


async def test_a_ledger_that_could_not_be_opened_is_not_locked(path: str) -> None:
    Path(path).write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match="damaged"):
        async with opened(path):
            pass
    Path(path).unlink()
    async with opened(path) as ledger:
        assert ledger.boot == 1


async def test_a_newer_or_locked_ledger_is_told_with_its_path(path: str) -> None:
    async with opened(path) as ledger:
        await ledger.ask(lambda raw: raw.execute("UPDATE meta SET value = 9 WHERE name = 'schema_version'"))
    with pytest.raises(LedgerError, match=r"l\.db: the ledger was written by a newer"):
        async with opened(path):
            pass
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (schema.VERSION,))
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="another program holds it"):
        async with opened(path):
            pass
    raw.close()


async def test_closing_commits_everything_and_the_next_start_finds_it(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        left_open = await ledger.reserve(command(key_id=key_id))
        ledger.settle(hold, finished(100, 200))
    ledger.settle(left_open, finished(1, 1))
    with pytest.raises(Refusal):
        await ledger.reserve(command(key_id=key_id))
    assert os.path.getsize(path + "-wal") == 0 if os.path.exists(path + "-wal") else True
    async with opened(path) as ledger:
        assert (ledger.boot, ledger.recovered) == (2, 1)
        assert (await ledger.usage("team-a")).output["used"] == 200 + 256
    async with opened(path) as ledger:
        assert (ledger.boot, ledger.recovered) == (3, 0)
