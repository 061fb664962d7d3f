"""What the ledger's SQL needs of a database: SQLite's own connection has it, the one to Postgres too.

Statements are SQLite's: ``?`` and ``:name`` for values, ``rowid`` where a table has no other number. Values are int,
str, bytes, float, bool (kept as 0 and 1) and None. What becomes of a statement on Postgres: postgres/dialect.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any]


class Cursor(Protocol):
    """The rows of one statement, as tuples."""

    @property
    def description(self) -> Any:
        """A sequence per column, its name first; None for a statement without rows."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchmany(self, size: int = ...) -> list[Any]:
        """The next rows."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """One connection, without transactions of its own: BEGIN and COMMIT are said."""

    @property
    def in_transaction(self) -> bool:
        """Whether a BEGIN has had no end yet."""

    @property
    def total_changes(self) -> int:
        """How many rows were changed on this connection."""

    def execute(self, sql: str, parameters: Values = ..., /) -> Cursor:
        """Carry out one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Carry out one statement with each row of values; ``rowcount`` is their sum."""
