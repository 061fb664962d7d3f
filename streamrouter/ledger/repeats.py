"""What a request with an Idempotency-Key comes to where that key was used before (docs/ledger.md "Idempotency"). Pure.

An attempt's fate is its hold's state: released ones count for nothing (and refused ones were never written), open ones
are in progress, all others are done. What is done is given again where the answer was kept, and refused where not.
"""

from __future__ import annotations

from streamrouter.ledger.book import Book
from streamrouter.ledger.denials import Denied
from streamrouter.ledger.records import Attempt, Idempotency, Stored

KEPT_NS = 24 * 3_600_000_000_000
MOST_STORED_BYTES = 1 << 20


def judge(book: Book, key_id: str, wanted: Idempotency, now_ns: int) -> Stored | Denied | None:
    """The stored answer, why not, or None: nothing that counts was admitted under that name."""
    for attempt in book.attempts(key_id, wanted.name):
        hold = book.hold(attempt.hold_id)
        if hold is None or hold.state == "released":
            continue
        if hold.state != "open" and now_ns - attempt.created_ns >= KEPT_NS:
            continue
        if attempt.fingerprint != wanted.fingerprint:
            return _reused(wanted)
        if hold.state == "open":
            return _in_progress(wanted)
        if attempt.reply is None:
            return _completed(attempt)
        return Stored(attempt.hold_id, attempt.reply)
    return None


def _reused(wanted: Idempotency) -> Denied:
    return Denied(
        code="idempotency_key_reused",
        message=f"The Idempotency-Key {wanted.name!r} was used for another request. Use a new one for each request, "
        "and repeat a request byte for byte.",
    )


def _in_progress(wanted: Idempotency) -> Denied:
    return Denied(
        code="idempotency_in_progress",
        message=f"The request with the Idempotency-Key {wanted.name!r} is still running. Ask again in a second.",
        retry_after_s=1,
    )


def _completed(attempt: Attempt) -> Denied:
    return Denied(
        code="idempotency_completed",
        message=f"The request with the Idempotency-Key {attempt.name!r} was carried out as {attempt.hold_id} and its "
        "answer was not kept. Use a new key to ask again.",
    )
