"""What is kept for how long: closed holds by configuration, Idempotency-Keys for a day (docs/ledger.md "Retention").

A pruned hold lives on in ``usage_archive``, one row per account, key, model and day, written in the transaction that
removes it: usage and money stay the sum of what they are made of. Each step is small, because requests wait behind it.
"""

from __future__ import annotations

from msgspec import Struct

from streamrouter.ledger.book import Moment
from streamrouter.ledger.repeats import KEPT_NS
from streamrouter.ledger.sqlite_book import SqliteBook

STEP = 200  # holds looked at in one transaction: about 2 ms
ANSWERS = 20  # kept answers forgotten in one transaction: each may have 1 MiB

_LOOK = "SELECT id, day, state FROM hold WHERE id > ? ORDER BY id LIMIT ?"
_ARCHIVE = """
    INSERT INTO usage_archive SELECT account_id, day, key_id, model, 1, s_input, s_output, s_cached, s_reasoning,
        cost, s_usd, over_input, over_output FROM hold WHERE id = ? AND state <> 'released'
    ON CONFLICT (account_id, day, key_id, model) DO UPDATE SET
        requests = usage_archive.requests + excluded.requests, input = usage_archive.input + excluded.input,
        output = usage_archive.output + excluded.output, cached = usage_archive.cached + excluded.cached,
        reasoning = usage_archive.reasoning + excluded.reasoning, cost = usage_archive.cost + excluded.cost,
        spent = usage_archive.spent + excluded.spent, over_input = usage_archive.over_input + excluded.over_input,
        over_output = usage_archive.over_output + excluded.over_output"""
_FORGET = "DELETE FROM idempotency WHERE hold_id = ?"
_REMOVE = "DELETE FROM hold WHERE id = ?"
_EXPIRE = """DELETE FROM idempotency WHERE hold_id IN (
    SELECT i.hold_id FROM idempotency AS i JOIN hold AS h ON h.id = i.hold_id
    WHERE i.created_ns <= ? AND h.state <> 'open' LIMIT ?)"""


class Pruned(Struct, frozen=True):
    """One step: how many holds went, and where the next one begins; None when nothing older is left."""

    removed: int
    next: str | None


def prune(book: SqliteBook, at: Moment, keep_days: int, after: str) -> Pruned:
    """Archive and remove the closed holds among the next ``STEP`` after the id ``after`` that are older than
    ``keep_days``. Ids are in order of time, so the first step without an old one is the last.
    """
    book.write()
    rows = book.connection.execute(_LOOK, (after, STEP)).fetchall()
    oldest_kept = at.day - keep_days
    is_old = [(hold_id,) for hold_id, day, _ in rows if day < oldest_kept]
    old = [(hold_id,) for hold_id, day, state in rows if day < oldest_kept and state != "open"]
    for statement in (_ARCHIVE, _FORGET, _REMOVE):
        book.connection.executemany(statement, old)
    return Pruned(len(old), rows[-1][0] if is_old and len(rows) == STEP else None)


def expire(book: SqliteBook, at: Moment) -> int:
    """Forget Idempotency-Keys (and the answers kept for them) after 24 hours; how many, ``ANSWERS`` at most."""
    book.write()
    return book.connection.execute(_EXPIRE, (at.now_ns - KEPT_NS, ANSWERS)).rowcount
