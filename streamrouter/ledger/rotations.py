"""Keys that replaced each other are one key in two forms: while several are good, they share one concurrency cap.

Pure, like the rules that ask it. A chain is followed in both directions and ends at a key that is neither good nor in
use: a request of an older one cannot be in flight for longer than a stream may last.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamrouter.ledger.book import Book
from streamrouter.ledger.records import Key

_MOST = 16  # links that are followed in each direction: what a reserve may cost stays bounded


def in_flight(book: Book, key: Key, now_ns: int) -> int:
    """The requests in flight of ``key``, of the keys that it replaced, and of those that replaced it."""
    return key.in_flight + sum(other.in_flight for other in _relatives(book, key, now_ns))


def predecessors(book: Book, key: Key, now_ns: int) -> list[Key]:
    """The keys that ``key`` replaced, one through the other, that are still good."""
    return [other for other in _chain(book, key, "replaces", now_ns) if _good(other, now_ns)]


def _relatives(book: Book, key: Key, now_ns: int) -> Iterator[Key]:
    yield from _chain(book, key, "replaces", now_ns)
    yield from _chain(book, key, "replaced_by", now_ns)


def _good(key: Key, now_ns: int) -> bool:
    return key.status == "active" and not key.expired(now_ns)


def _chain(book: Book, key: Key, link: str, now_ns: int) -> Iterator[Key]:
    for _ in range(_MOST):
        next_id = getattr(key, link)
        found = None if next_id is None else book.key(next_id)
        if found is None or not (_good(found, now_ns) or found.in_flight):
            return
        yield found
        key = found
