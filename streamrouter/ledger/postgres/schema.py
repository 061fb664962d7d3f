"""The ledger's tables in a Postgres database: those of schema.py, translated, and what only Postgres needs.

However many processes start at once, one makes the tables and the others wait for it. The tables are made in the first
schema of the connection's search_path, all or none.
"""

from __future__ import annotations

import orjson

from streamrouter.errors import LedgerError, NoLedger
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.migrations import MIGRATIONS
from streamrouter.ledger.postgres import dialect
from streamrouter.ledger.schema import APPLICATION_ID, TABLES, VERSION, set_meta
from streamrouter.ledger.verdicts import DatabaseError

# Advisory locks are the whole database's, and a ledger may have only a schema of it: a lock has one of these names, and
# one of these numbers or that of a boot.
LOCK = "(hashtext(? || ' ' || current_schema()), ?::int)"
LOCKS, BOOTS = "streamrouter", "streamrouter boot"
SCHEMA, ADMIN, RECOVERY = 1, 2, 3

_OLDEST_SERVER = 130_000  # nobody maintains an older one any more
_OURS = (
    # One row per process that uses the ledger. ``pulse_ns``: when it was last known to live, by the database's clock.
    # ``batch``: the number of its last transaction, which is how a process finds out whether that one was committed.
    """CREATE TABLE process (boot INTEGER PRIMARY KEY, pulse_ns INTEGER NOT NULL, began_ns INTEGER NOT NULL,
        host TEXT NOT NULL, home TEXT NOT NULL, pid INTEGER NOT NULL, version TEXT NOT NULL,
        batch INTEGER NOT NULL DEFAULT 0) {strict}""",
    # Each request leaves one dead row behind: they are to go by thousands, not by a fifth of the table.
    """ALTER TABLE hold SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000)""",
)
_SERVER = """SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
    pg_is_in_recovery(), current_schema()"""
_FOUND = """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"""
_NAMES = ("meta", "account", "api_key", "usage_day", "usage_model", "hold", "entry", "audit")
_AUDIT = "INSERT INTO audit (at_ns, action, subject, detail) VALUES (?, 'migrated', ?, ?)"
_MARKS = "INSERT INTO meta (name, value) VALUES ('application_id', ?), ('days_accepted', 0)"
_FREE = f"SELECT pg_try_advisory_xact_lock{LOCK}"
_DENIED = "42501"


def prepare(connection: Connection, now_ns: int, *, make: bool = True) -> None:
    """Make the tables of an empty schema (``make`` False: NoLedger), or bring a ledger to our version. LedgerError says
    what to do."""
    look_at_server(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"SELECT pg_advisory_xact_lock{LOCK}", (LOCKS, SCHEMA))
        found = version(connection)
        if not found and not make:
            raise NoLedger("there is no ledger in this database")
        if found < VERSION:
            if found:
                _refuse_company(connection)
            _bring(connection, found, now_ns)
        connection.execute("COMMIT")
    except DatabaseError as error:
        if error.sqlstate == _DENIED:
            raise LedgerError(
                f"{error}; the ledger's database user must own its tables and may CREATE in the schema"
            ) from error
        raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def look_at_server(connection: Connection) -> None:
    """LedgerError for a server or a database that cannot have a ledger."""
    number, encoding, standby, schema = connection.execute(_SERVER).fetchone()
    if number < _OLDEST_SERVER:
        raise LedgerError(f"the server is Postgres {number // 10_000}; the ledger needs 13 or later")
    if encoding != "UTF8":
        raise LedgerError(f"the database's encoding is {encoding}; make one with ENCODING 'UTF8'")
    if standby:
        raise LedgerError("the server is a standby and cannot be written to; give the primary's address")
    if schema is None:
        raise LedgerError("no schema of the search_path exists; create it, or leave search_path as it is")


def version(connection: Connection) -> int:
    """The ledger's version; 0: there is none yet. LedgerError: a newer one, or somebody else's tables."""
    found = {name for (name,) in connection.execute(_FOUND)}.intersection(_NAMES)
    if not found:
        return 0
    if found == set(_NAMES):
        columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'meta'"
        columns += " AND table_schema = current_schema() AND column_name IN ('name', 'value')"
        if connection.execute(columns).fetchone()[0] == 2:
            values = dict(connection.execute("SELECT name, value FROM meta").fetchall())
            if values.get("application_id") == APPLICATION_ID:
                return _known(int(values["schema_version"]))
    raise LedgerError(
        f"the database has tables of another program ({', '.join(sorted(found))}); "
        "give the ledger a database of its own"
    )


def _known(version: int) -> int:
    if version > VERSION:
        raise LedgerError(
            f"the ledger was written by a newer streamrouter (schema {version}, this program knows {VERSION}); "
            "upgrade streamrouter, or restore a backup made before the upgrade"
        )
    return version


def _refuse_company(connection: Connection) -> None:
    """Others would go on with statements for the tables as they were."""
    boots = [boot for (boot,) in connection.execute("SELECT boot FROM process ORDER BY boot").fetchall()]
    alive = [boot for boot in boots if connection.execute(_FREE, (BOOTS, boot)).fetchone() != (1,)]
    if alive:
        raise LedgerError(
            f"{len(alive)} processes of an older streamrouter run on this ledger, whose tables are to be changed; stop "
            "them first, then start this one"
        )


def _bring(connection: Connection, version: int, now_ns: int) -> None:
    if not version:
        for statement in (dialect.REFUSE, *TABLES, *_OURS):
            connection.execute(dialect.definition(statement))
        connection.execute(_MARKS, (APPLICATION_ID,))
    for step in MIGRATIONS:
        if step.version > version:
            for statement in step.statements:
                connection.execute(dialect.definition(statement))
            set_meta(connection, "schema_version", step.version)
            if version:
                connection.execute(_AUDIT, (now_ns, str(step.version), orjson.dumps({"name": step.name}).decode()))
