from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from streamrouter.ledger import records, schema

TABLES = {
    "account": records.Account,
    "api_key": records.Key,
    "usage_day": records.UsageDay,
    "usage_model": records.UsageModel,
    "hold": records.HoldRow,
    "entry": records.Entry,
}


@pytest.fixture
def raw() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    yield connection
    connection.close()


@pytest.mark.parametrize("table", TABLES)
def test_a_record_is_a_tables_row_in_its_order(raw: sqlite3.Connection, table: str) -> None:
    struct: Any = TABLES[table]
    columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
    assert tuple(columns) == struct.__struct_fields__
