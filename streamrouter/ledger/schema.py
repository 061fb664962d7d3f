"""The ledger's tables, and how a file gets to the version that this program knows.

Columns stand in the order of the Structs in records.py, so that a row is a Struct's tuple. The CHECKs repeat the
invariants that one row can show: a bug in the rules then fails its operation instead of breaking a cap. Money is
nano-USD, prices are pico-USD per token, times are Unix nanoseconds, days count from 1970-01-01 (UTC). A hold's state
has no CHECK: a list of texts costs more there (5 us a request, measured) than all the others; `invariants` looks at it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from streamrouter.errors import LedgerError
from streamrouter.ledger import backup
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.migrations import MIGRATIONS

APPLICATION_ID = 0x53524C31  # "SRL1": tells a ledger from any other SQLite file
VERSION = MIGRATIONS[-1].version

# Version 1; what came later is in migrations.py. A new file goes through every step as well.
TABLES = (
    """CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) {strict}""",
    """CREATE TABLE account (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        status TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
        input_per_request INTEGER, output_per_request INTEGER, daily_input INTEGER, daily_output INTEGER,
        requests_per_minute INTEGER, rate_tat_ns INTEGER NOT NULL, models TEXT, unlimited INTEGER NOT NULL,
        credited INTEGER NOT NULL, spent INTEGER NOT NULL, reserved INTEGER NOT NULL, created_ns INTEGER NOT NULL,
        CHECK (spent >= 0 AND reserved >= 0 AND spent + reserved <= credited)
    ) {strict}, WITHOUT ROWID""",
    """CREATE TABLE api_key (
        id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES account (id), surface TEXT NOT NULL,
        hash BLOB NOT NULL UNIQUE, display TEXT NOT NULL, models TEXT, concurrency INTEGER,
        status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
        in_flight INTEGER NOT NULL CHECK (in_flight >= 0), created_ns INTEGER NOT NULL, revoked_ns INTEGER,
        replaces TEXT
    ) {strict}, WITHOUT ROWID""",
    """CREATE INDEX api_key_account ON api_key (account_id)""",
    """CREATE TABLE usage_day (
        account_id TEXT NOT NULL REFERENCES account (id), day INTEGER NOT NULL,
        posted_input INTEGER NOT NULL, posted_output INTEGER NOT NULL,
        reserved_input INTEGER NOT NULL CHECK (reserved_input >= 0),
        reserved_output INTEGER NOT NULL CHECK (reserved_output >= 0), requests INTEGER NOT NULL,
        PRIMARY KEY (account_id, day)
    ) {strict}, WITHOUT ROWID""",
    """CREATE TABLE usage_model (
        account_id TEXT NOT NULL REFERENCES account (id), day INTEGER NOT NULL, key_id TEXT NOT NULL,
        model TEXT NOT NULL, requests INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
        cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER NOT NULL, spent INTEGER NOT NULL,
        over_input INTEGER NOT NULL, over_output INTEGER NOT NULL,
        PRIMARY KEY (account_id, day, key_id, model)
    ) {strict}, WITHOUT ROWID""",
    """CREATE TABLE hold (
        id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES account (id),
        key_id TEXT NOT NULL REFERENCES api_key (id), surface TEXT NOT NULL, model TEXT NOT NULL,
        day INTEGER NOT NULL, boot INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'open',
        prepaid INTEGER NOT NULL, stream INTEGER NOT NULL, exact INTEGER NOT NULL,
        r_input INTEGER NOT NULL, r_output INTEGER NOT NULL, r_usd INTEGER NOT NULL,
        lease_output INTEGER NOT NULL CHECK (lease_output <= r_output),
        price_input INTEGER NOT NULL, price_output INTEGER NOT NULL, price_cache_read INTEGER NOT NULL,
        s_input INTEGER NOT NULL DEFAULT 0 CHECK (s_input BETWEEN 0 AND r_input),
        s_output INTEGER NOT NULL DEFAULT 0 CHECK (s_output BETWEEN 0 AND r_output),
        s_cached INTEGER NOT NULL DEFAULT 0 CHECK (s_cached <= s_input),
        s_reasoning INTEGER NOT NULL DEFAULT 0 CHECK (s_reasoning <= s_output),
        s_usd INTEGER NOT NULL DEFAULT 0 CHECK (s_usd BETWEEN 0 AND r_usd), cost INTEGER NOT NULL DEFAULT 0,
        over_input INTEGER NOT NULL DEFAULT 0, over_output INTEGER NOT NULL DEFAULT 0,
        over_usd INTEGER NOT NULL DEFAULT 0, end_reason TEXT NOT NULL DEFAULT '',
        usage_source TEXT NOT NULL DEFAULT '', upstream TEXT NOT NULL DEFAULT '', ttft_ms INTEGER,
        duration_ms INTEGER NOT NULL DEFAULT 0, created_ns INTEGER NOT NULL, closed_ns INTEGER
    ) {strict}, WITHOUT ROWID""",
    """CREATE INDEX hold_open ON hold (account_id) WHERE state = 'open'""",
    """CREATE TABLE entry (
        id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES account (id),
        kind TEXT NOT NULL CHECK (kind IN ('payment', 'fee', 'adjustment', 'refund')),
        amount INTEGER NOT NULL, ref TEXT, created_ns INTEGER NOT NULL
    ) {strict}""",
    """CREATE INDEX entry_account ON entry (account_id, ref)""",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        detail TEXT NOT NULL
    ) {strict}""",
    """CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END""",
    """CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END""",
    """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER hold_closed_no_update BEFORE UPDATE ON hold WHEN OLD.state <> 'open'
        BEGIN SELECT RAISE(ABORT, 'a closed hold never changes'); END""",
    """INSERT INTO meta (name, value) VALUES ('schema_version', 1), ('boot', 0), ('last_day', 0)""",
)


_AUDIT = "INSERT INTO audit (at_ns, action, subject, detail) VALUES (?, 'migrated', ?, ?)"


def prepare(connection: sqlite3.Connection, now_ns: int = 0) -> None:
    """Make the tables of a new file, or bring an existing ledger to our version after a backup of it beside it.

    LedgerError says what to do; sqlite3.Error if the file cannot be read or written.
    """
    fresh = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    version = 0 if fresh else _version(connection)
    if version == VERSION:
        return
    if not fresh:
        _keep_copy(connection, version)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if fresh:
            _run(connection, TABLES)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for step in MIGRATIONS:
            if step.version > version:
                _run(connection, step.statements)
                set_meta(connection, "schema_version", step.version)
                if not fresh:
                    connection.execute(_AUDIT, (now_ns, str(step.version), orjson.dumps({"name": step.name}).decode()))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _run(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    strict = sqlite3.sqlite_version_info >= (3, 37)
    for statement in statements:
        if strict:
            connection.execute(statement.replace("{strict}", "STRICT"))
        else:
            connection.execute(statement.replace("{strict},", "").replace("{strict}", ""))


def _keep_copy(connection: sqlite3.Connection, version: int) -> None:
    """A backup before a migration: ``<ledger>.v1.backup``. An older one of that name is replaced."""
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if path:
        backup.write(connection, f"{path}.v{version}.backup", replace=True)


def _version(connection: sqlite3.Connection) -> int:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError("the file is an SQLite database of another program, not a ledger; give another ledger.path")
    version = meta(connection, "schema_version")
    if version > VERSION:
        raise LedgerError(
            f"the ledger was written by a newer streamrouter (schema {version}, this program knows {VERSION}); "
            "upgrade streamrouter, or restore a backup made before the upgrade"
        )
    return version


def meta(connection: Connection, name: str) -> int:
    """One of the ledger's own numbers: ``schema_version``, ``boot``, ``last_day``."""
    (value,) = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(value)


def set_meta(connection: Connection, name: str, value: int) -> None:
    """Write one of the ledger's own numbers."""
    connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
