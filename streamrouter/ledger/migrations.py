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
    Migration(
        3,
        "people of the console, their links and sessions, admin tokens, who did what",
        (
            # ``password``: scrypt with its parameters (policy/passwords.py), NULL until their link was used.
            """CREATE TABLE person (
                id TEXT PRIMARY KEY, name TEXT NOT NULL,
                role TEXT NOT NULL CHECK (role IN ('admin', 'member')),
                status TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
                account_id TEXT REFERENCES account (id), password TEXT, created_ns INTEGER NOT NULL,
                seen_ns INTEGER, ref TEXT
            ) {strict}""",
            """CREATE UNIQUE INDEX person_name ON person (lower(name))""",
            """CREATE UNIQUE INDEX person_ref ON person (ref) WHERE ref IS NOT NULL""",
            # ``hash``, here and below: the SHA-256 of a secret of 256 random bits. The set-up link has no person yet.
            """CREATE TABLE invitation (
                hash BLOB PRIMARY KEY, person_id TEXT REFERENCES person (id),
                purpose TEXT NOT NULL CHECK (purpose IN ('setup', 'invite', 'reset')),
                created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL
            ) {strict}""",
            """CREATE TABLE session (
                hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, person_id TEXT NOT NULL REFERENCES person (id),
                client TEXT NOT NULL, created_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL
            ) {strict}""",
            """CREATE INDEX session_person ON session (person_id)""",
            """CREATE TABLE admin_token (
                hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, display TEXT NOT NULL,
                person_id TEXT REFERENCES person (id), created_ns INTEGER NOT NULL, seen_ns INTEGER, ref TEXT
            ) {strict}""",
            """CREATE UNIQUE INDEX admin_token_ref ON admin_token (ref) WHERE ref IS NOT NULL""",
            """ALTER TABLE audit ADD COLUMN actor TEXT NOT NULL DEFAULT ''""",
        ),
    ),
    Migration(
        4,
        "minutes of traffic, the gaps of a stream",
        (
            """CREATE TABLE rollup_minute (
                minute INTEGER PRIMARY KEY, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
                input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
                active INTEGER NOT NULL, ttft TEXT NOT NULL, gap TEXT NOT NULL
            ) {strict}""",
            """ALTER TABLE hold ADD COLUMN gap_p99_ms INTEGER""",
        ),
    ),
    Migration(
        5,
        "an end for rotated keys",
        (
            """ALTER TABLE api_key ADD COLUMN expires_ns INTEGER""",
            """ALTER TABLE api_key ADD COLUMN replaced_by TEXT""",
        ),
    ),
    Migration(
        6,
        "minutes of traffic of several processes",
        (
            """CREATE TABLE rollup_boot (
                minute INTEGER NOT NULL, boot INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
                input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost INTEGER NOT NULL,
                active INTEGER NOT NULL, ttft TEXT NOT NULL, gap TEXT NOT NULL, PRIMARY KEY (minute, boot)
            ) {strict}, WITHOUT ROWID""",
            """INSERT INTO rollup_boot SELECT minute, 0, requests, errors, input_tokens, output_tokens, cost, active,
                ttft, gap FROM rollup_minute""",
            """DROP TABLE rollup_minute""",
            """ALTER TABLE rollup_boot RENAME TO rollup_minute""",
        ),
    ),
)
