"""The books of a file in a database: the same rows, the same sums, and what is new goes on from there."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import people, reports, rollups, transfer
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Idempotency
from streamrouter.ops.series import Slot
from tests.ledger.books import DAY, NOON_NS, TABLES, command, contents, finished, opened, with_key
from tests.support.postgres import PASSWORD


async def filled(ledger: Ledger) -> str:
    """Something of everything; the key's id."""
    key_id = await with_key(ledger, daily_output=10_000, models=["gpt-5.4-mini"])
    for number in range(3):
        await ledger.credit("team-a", [("payment", 100_000_000 + number), ("fee", -number - 1)], f"ref {number}")
    for number in range(4):
        once = Idempotency(f"n{number}", bytes(32)) if number % 2 else None
        hold = await ledger.reserve(command(key_id=key_id, prepaid=True, idempotency=once))
        await ledger.settle_durably(hold, finished(output_tokens=number), None if once is None else b"\0\xffanswer")
    await ledger.act(rollups.write, {DAY * 1440: Slot(requests=4, ttft={3: 1})})
    await ledger.act(people.create_admin, "root", "scrypt:…")
    await ledger.act(people.invite, "member-1", "member", "team-a", {}, None)
    return key_id


async def copied(ledger: Ledger, url: str) -> dict[str, int]:
    return await ledger.ask(partial(transfer.copy, url=url, now_ns=NOON_NS))


async def test_every_row_is_there_and_the_books_go_on(tmp_path: Path, ledger_url: str) -> None:
    async with opened(str(tmp_path / "l.db")) as file:
        key_id = await filled(file)
        rows = await copied(file, ledger_url)
        before = await file.ask(contents)
        owner = (await file.accounts())[0].id
        history = await file.ask(lambda raw: reports.history(raw, owner))
        boot = file.boot
    assert rows == {table: len(before[table]) for table in TABLES}
    assert [table for table, count in rows.items() if not count] == ["usage_archive", "session", "admin_token"]
    async with opened(ledger_url) as ledger:
        assert await ledger.ask(contents) == before
        assert await ledger.ask(lambda raw: reports.history(raw, owner)) == history
        assert ledger.boot == boot + 1 and ledger.day == DAY
        hold = await ledger.reserve(command(key_id=key_id, prepaid=True))
        await ledger.settle_durably(hold, finished())
        await ledger.credit("team-a", [("refund", -5)], "ref 9")  # its line of audit has the next number
        assert await ledger.check() == []


async def test_only_an_empty_database_is_filled(tmp_path: Path, ledger_url: str) -> None:
    async with opened(str(tmp_path / "l.db")) as file:
        await filled(file)
        await copied(file, ledger_url)
        with pytest.raises(LedgerError, match=r"nothing was copied to .* has a ledger that is in use") as told:
            await copied(file, ledger_url)
        assert PASSWORD not in str(told.value)


async def test_what_breaks_in_between_leaves_nothing(tmp_path: Path, ledger_url: str) -> None:
    """And the same database takes it, once what was wrong is right."""

    def broken(raw: Any) -> None:
        raw.execute("INSERT INTO rollup_minute VALUES (1, 1, 1, 1, 1, 1, 1, 1, 'a' || char(0), '')")

    async with opened(str(tmp_path / "l.db")) as file:
        await filled(file)
        await file.act(lambda book, at: broken(book.connection))
        with pytest.raises((LedgerError, ValueError)):
            await copied(file, ledger_url)
        await file.act(lambda book, at: book.connection.execute("DELETE FROM rollup_minute WHERE minute = 1"))
        assert (await copied(file, ledger_url))["hold"] == 4


async def test_a_database_that_is_not_to_be_had(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "l.db")) as file:
        with pytest.raises(LedgerError, match=r"^nothing was copied to postgresql://u@127.0.0.1:1/x: .*refused$"):
            await copied(file, f"postgresql://u:{PASSWORD}@127.0.0.1:1/x")


async def test_every_table_is_copied(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "l.db")):
        pass
    with sqlite3.connect(tmp_path / "l.db") as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    assert {name for (name,) in found} - {"meta"} == set(transfer.TABLES)
