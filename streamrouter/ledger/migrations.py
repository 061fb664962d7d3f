"""The steps by which a ledger's file got to the version that this program knows, oldest first.

A step is never changed once it has been released: a new one follows it. Statements are run in one transaction with
the version; ``{strict}`` becomes ``STRICT`` where SQLite knows it. What the columns mean is said in schema.py.
"""

from __future__ import annotations

from msgspec import Struct


class Migration(Struct, frozen=True):
    """One step: the version that it leads to, its name (in the audit log), and its statements."""

    version: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        2,
        "idempotency keys, archive of pruned holds, references of keys, leases of holds",
        (
            # One row per attempt under an Idempotency-Key. ``reply``: the body of a whole answer, kept for a replay.
            """CREATE TABLE idempotency (
                hold_id TEXT PRIMARY KEY REFERENCES hold (id), key_id TEXT NOT NULL REFERENCES api_key (id),
                name TEXT NOT NULL, fingerprint BLOB NOT NULL, created_ns INTEGER NOT NULL, reply BLOB
            ) {strict}""",
            """CREATE INDEX idempotency_name ON idempotency (key_id, name)""",
            """CREATE INDEX idempotency_age ON idempotency (created_ns)""",
            # Σ of the closed holds that were pruned: with it, usage stays the sum of what it is made of.
            """CREATE TABLE usage_archive (
                account_id TEXT NOT NULL REFERENCES account (id), day INTEGER NOT NULL, key_id TEXT NOT NULL,
                model TEXT NOT NULL, requests INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
                cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER NOT NULL, spent INTEGER NOT NULL,
                over_input INTEGER NOT NULL, over_output INTEGER NOT NULL,
                PRIMARY KEY (account_id, day, key_id, model)
            ) {strict}, WITHOUT ROWID""",
            """CREATE INDEX usage_day_day ON usage_day (day)""",
            """CREATE INDEX usage_model_day ON usage_model (day)""",
            """CREATE TRIGGER hold_open_no_delete BEFORE DELETE ON hold WHEN OLD.state = 'open'
                BEGIN SELECT RAISE(ABORT, 'an open hold is never deleted'); END""",
            """ALTER TABLE hold ADD COLUMN leases TEXT NOT NULL DEFAULT ''""",
            """ALTER TABLE api_key ADD COLUMN ref TEXT""",
            """CREATE UNIQUE INDEX api_key_ref ON api_key (account_id, ref) WHERE ref IS NOT NULL""",
        ),
    ),
)
