from __future__ import annotations

import pytest

from streamrouter.ledger import schema
from streamrouter.ledger.migrations import MIGRATIONS
from streamrouter.ledger.postgres import dialect


@pytest.mark.parametrize(
    ("sql", "translated", "names"),
    [
        ("SELECT ? + ?", "SELECT $1 + $2", ()),
        ("SELECT ?1, ?1, ?2", "SELECT $1, $1, $2", ()),
        ("SELECT :a + :b + :a", "SELECT $1 + $2 + $1", ("a", "b")),
        ("SELECT '?:a', \"b:c\", x::int, ?::text -- ? :d", "SELECT '?:a', \"b:c\", x::int, $1::text -- ? :d", ()),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1", ()),
        ("BEGIN IMMEDIATE", "BEGIN ISOLATION LEVEL READ COMMITTED", ()),
    ],
)
def test_a_statement_for_values(sql: str, translated: str, names: tuple[str, ...]) -> None:
    found = dialect.translate(sql)
    assert (found.sql, found.names) == (translated, names)


def test_what_comes_again_is_worth_preparing() -> None:
    assert dialect.translate("\n  SELECT 1").prepared and dialect.translate("COMMIT").prepared
    assert not dialect.translate("CREATE TABLE t (a INTEGER)").prepared


def test_a_trigger_that_refuses() -> None:
    made = dialect.definition(
        """CREATE TRIGGER closed BEFORE UPDATE ON hold WHEN OLD.state <> 'open'
        BEGIN SELECT RAISE(ABORT, 'a closed hold never changes'); END"""
    )
    assert made == (
        "CREATE TRIGGER closed BEFORE UPDATE ON hold FOR EACH ROW WHEN (OLD.state <> 'open')"
        " EXECUTE FUNCTION ledger_refuse('a closed hold never changes')"
    )


def test_a_table() -> None:
    made = dialect.definition("CREATE TABLE t (a TEXT PRIMARY KEY, b INTEGER NOT NULL, c BLOB, d REAL) {strict}")
    assert made == ('CREATE TABLE t (a TEXT COLLATE "C" PRIMARY KEY, b BIGINT NOT NULL, c BYTEA, d DOUBLE PRECISION)')


def test_nothing_of_sqlite_is_left() -> None:
    statements = [*schema.TABLES, *(each for step in MIGRATIONS for each in step.statements)]
    for made in map(dialect.definition, statements):
        for word in ("{strict}", "ROWID", "INTEGER", "BLOB", "RAISE"):
            assert word not in made, made
