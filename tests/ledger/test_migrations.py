"""Files of older versions: brought up to date at the start, after a backup; whole or not at all."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest

from streamrouter.errors import LedgerError
from streamrouter.ledger import invariants, migrations, schema
from tests.ledger.books import command, finished, opened, with_key


def old_file(path: str) -> None:
    """A ledger of version 1, with a user, a key, money and a settled request in it."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    schema._run(raw, schema.TABLES)
    raw.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    raw.executescript("""
        INSERT INTO account
            VALUES ('acct_1', 'old', 'active', NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, 500, 100, 0, 1);
        INSERT INTO entry VALUES ('ent_1', 'acct_1', 'payment', 500, 'inv-1', 1);
        INSERT INTO api_key VALUES ('key_1', 'acct_1', 'main', x'01', 'sk-…', NULL, NULL, 'active', 0, 1, NULL, NULL);
        INSERT INTO usage_day VALUES ('acct_1', 10, 3, 4, 0, 0, 1);
        INSERT INTO usage_model VALUES ('acct_1', 10, 'key_1', 'm', 1, 3, 4, 0, 0, 100, 100, 0, 0);
        INSERT INTO hold (id, account_id, key_id, surface, model, day, boot, state, prepaid, stream, exact, r_input,
            r_output, r_usd, lease_output, price_input, price_output, price_cache_read, s_input, s_output, s_usd, cost,
            created_ns, closed_ns) VALUES ('req_1', 'acct_1', 'key_1', 'main', 'm', 10, 1, 'settled', 1, 1, 1, 3,
            4, 100, 4, 20000, 10000, 0, 3, 4, 100, 100, 1, 2);
    """)
    raw.close()


def versions(path: str) -> int:
    raw = sqlite3.connect(path)
    try:
        return schema.meta(raw, "schema_version")
    finally:
        raw.close()


def test_versions_follow_each_other_and_every_step_has_a_name() -> None:
    assert [step.version for step in migrations.MIGRATIONS] == list(range(2, schema.VERSION + 1))
    assert all(step.name for step in migrations.MIGRATIONS)
    assert all(before.name != after.name for before, after in pairwise(migrations.MIGRATIONS))


async def test_an_old_ledger_is_backed_up_brought_up_to_date_and_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    old_file(path)
    async with opened(path) as ledger:
        assert await ledger.check() == []
        assert (await ledger.usage("old")).credited == 500
        told = await ledger.ask(lambda raw: raw.execute("SELECT action, subject FROM audit").fetchall())
        assert told == [("migrated", str(step.version)) for step in migrations.MIGRATIONS]
        hold = await ledger.reserve(command(key_id="key_1"))
        await ledger.settle_durably(hold, finished())
        assert await with_key(ledger)
    assert (versions(path), versions(path + ".v1.backup")) == (schema.VERSION, 1)
    copy = sqlite3.connect(path + ".v1.backup")
    assert copy.execute("SELECT name FROM account").fetchall() == [("old",)]
    copy.close()
    async with opened(path) as ledger:  # nothing left to do
        assert await ledger.check() == []


async def test_where_no_backup_can_be_made_nothing_is_migrated(tmp_path: Path) -> None:
    path = str(tmp_path / "l.db")
    old_file(path)
    (tmp_path / "l.db.v1.backup.part").mkdir()
    with pytest.raises(LedgerError, match="backup could not be written"):
        async with opened(path):
            pass
    assert versions(path) == 1


async def test_a_step_that_fails_leaves_the_old_version_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "l.db")
    old_file(path)
    twice = ("CREATE TABLE new (a) {strict}", "CREATE TABLE new (a)")
    broken = migrations.Migration(schema.VERSION + 1, "broken", twice)
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(LedgerError):
        async with opened(path):
            pass
    assert versions(path) == 1
    monkeypatch.undo()
    async with opened(path) as ledger:
        assert await ledger.ask(invariants.check) == []
