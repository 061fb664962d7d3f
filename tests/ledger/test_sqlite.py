from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import sqlite
from streamrouter.ledger.lock import Holder
from streamrouter.ledger.verdicts import Verdict, verdict
from tests.ledger.books import FAST, opened, run_as_nobody, with_key


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("told")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, Verdict.TRANSIENT),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Verdict.TRANSIENT),
        (sqlite3.SQLITE_READONLY, Verdict.TRANSIENT),
        (sqlite3.SQLITE_FULL, Verdict.FULL),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Verdict.FULL),
        (sqlite3.SQLITE_IOERR_FSYNC, Verdict.FATAL),
        (sqlite3.SQLITE_IOERR_READ, Verdict.FATAL),
        (sqlite3.SQLITE_CORRUPT, Verdict.FATAL),
        (sqlite3.SQLITE_NOTADB, Verdict.FATAL),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, Verdict.FAULT),
        (sqlite3.SQLITE_ERROR, Verdict.FAULT),
    ],
)
def test_what_an_sqlite_error_says(code: int, expected: Verdict) -> None:
    assert verdict(sqlite_error(code)) is expected
    assert str(sqlite.unusable("l.db", sqlite_error(code))).startswith("l.db: told; ")


def test_errors_without_a_code_are_faults_of_an_operation() -> None:
    assert verdict(ValueError("x")) is Verdict.FAULT
    assert verdict(sqlite3.ProgrammingError("closed")) is Verdict.FAULT


async def test_a_new_ledger_is_private_durable_and_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    connection = await sqlite.connect(str(path), FAST, None, sqlite3.connect)

    def pragmas(raw: sqlite3.Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        return [raw.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await connection.run(pragmas) == ["wal", 1, 1, 0]
    await connection.close()
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


async def test_a_ledger_that_was_emptied_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    path.touch()
    with pytest.raises(LedgerError, match="was a ledger and is empty now"):
        await sqlite.connect(str(path), FAST, Holder(pid=1, boot=3), sqlite3.connect)
    (tmp_path / "l.db-wal").write_bytes(b"frames")
    for missing in (False, True):
        if missing:
            path.unlink()
        with pytest.raises(LedgerError, match="restore both from one backup"):
            await sqlite.connect(str(path), FAST, None, sqlite3.connect)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(b"These are not the bytes you are looking for." * 100)
    with pytest.raises(LedgerError, match="it is damaged"):
        await sqlite.connect(str(path), FAST, None, sqlite3.connect)


@pytest.mark.parametrize("page", [2, 3, 5])
async def test_a_damaged_page_is_refused_and_the_file_left_alone(tmp_path: Path, page: int) -> None:
    path = tmp_path / "l.db"
    async with opened(str(path)) as ledger:
        await with_key(ledger)
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\x5a" * 4096
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="damaged"):
        async with opened(str(path)):
            pass
    assert path.read_bytes()[4096:] == data[4096:]


async def test_memory_databases_cannot_be_ledgers(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    with pytest.raises(LedgerError, match="WAL mode"):
        await sqlite.connect(path, FAST, None, lambda _, **options: sqlite3.connect(":memory:", **options))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_read_only_file_or_directory_is_told(tmp_path: Path) -> None:
    async def directory() -> None:
        with pytest.raises(LedgerError, match="writable"):
            await sqlite.connect(str(tmp_path / "l.db"), FAST, None, sqlite3.connect)

    async def file() -> None:
        with pytest.raises(LedgerError, match="must be writable for the user"):
            await sqlite.connect(str(tmp_path / "l.db"), FAST, None, sqlite3.connect)

    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            os.chmod(parent, 0o755)
    assert run_as_nobody(directory) == 0
    sqlite3.connect(tmp_path / "l.db").close()
    (tmp_path / "l.db").touch()
    os.chmod(tmp_path / "l.db", 0o444)
    assert run_as_nobody(file) == 0


async def test_the_loop_may_use_the_connection_while_its_thread_has_nothing_to_do(tmp_path: Path) -> None:
    connection = await sqlite.connect(str(tmp_path / "l.db"), FAST, None, sqlite3.connect)
    raw = connection.idle
    assert raw is not None
    go = threading.Event()
    job = asyncio.ensure_future(connection.run(lambda _: go.wait(5)))
    await asyncio.sleep(0)
    job.cancel()  # nobody waits for it any more, but it runs
    await asyncio.gather(job, return_exceptions=True)
    assert _idle(connection) is None
    go.set()
    await connection.run(lambda _: None)
    assert _idle(connection) is raw
    await connection.close()


def _idle(connection: sqlite.Connection) -> sqlite3.Connection | None:
    return connection.idle
