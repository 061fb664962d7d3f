from __future__ import annotations

import pytest

from streamrouter.ledger.connection import Connection


def test_both_do_what_the_ledgers_statements_need(tables: Connection) -> None:
    if tables.in_transaction:
        tables.execute("ROLLBACK")
    insert = "INSERT INTO meta (name, value) VALUES (?, ?)"
    inside = [tables.in_transaction]
    tables.execute("BEGIN IMMEDIATE")
    inside.append(tables.in_transaction)
    before = tables.total_changes
    assert tables.executemany(insert, [(f"x{n}", n) for n in range(5)]).rowcount == 5
    assert tables.total_changes - before == 5
    cursor = tables.execute("SELECT name, value FROM meta WHERE name >= :low AND value < :high ORDER BY name", {
        "low": "x1", "high": 4, "unused": None,
    })  # fmt: skip
    assert [column[0] for column in cursor.description] == ["name", "value"]
    assert cursor.fetchone() == ("x1", 1)
    assert cursor.fetchmany(1) == [("x2", 2)]
    assert list(cursor) == [("x3", 3)]
    assert cursor.fetchone() is None and cursor.fetchall() == []
    tables.execute("ROLLBACK")
    assert [*inside, tables.in_transaction] == [False, True, False]
    assert tables.execute("SELECT count(*) FROM meta WHERE name = ?", ("x1",)).fetchone() == (0,)


@pytest.mark.parametrize("value", [0, -(1 << 63), (1 << 63) - 1, "é", "", b"\0\xff", None])
def test_values(tables: Connection, value: object) -> None:
    kinds = {int: "INTEGER", str: "TEXT", bytes: "BLOB", type(None): "TEXT"}
    kind = kinds[type(value)] if type(tables).__module__ == "sqlite3" else "TEXT"
    if type(tables).__module__ != "sqlite3":
        kind = {int: "bigint", str: "text", bytes: "bytea", type(None): "text"}[type(value)]
    assert tables.execute(f"SELECT CAST(? AS {kind})", (value,)).fetchone() == (value,)
