"""Token counts of texts that were counted before: a chat sends its whole history again with every turn.

A text is known by the SHA-256 of it, its owner, and a secret of this process, never by itself: nothing of a prompt is
kept, a dump of the memory does not tell what was asked, and nobody learns from the time that a request takes what
others have asked. Counting costs 25 us for a thousand characters, looking it up one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from hashlib import sha256

MOST = 8192  # counts of a generation; there are two: some 2.5 MB in all
SHORT_CHARS = 32  # counting these takes no longer than looking them up


class Remembered:
    """Calls ``count`` for texts that it does not know. May be used by several threads at once."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._salt = os.urandom(16)
        self._new: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def of(self, owner: str) -> Callable[[str], int]:
        """Counts texts of one owner (an account's id)."""
        return partial(self._look, self._salt + owner.encode() + b"\0")

    def _look(self, salt: bytes, text: str) -> int:
        if len(text) <= SHORT_CHARS:
            return self._count(text)
        digest = sha256(salt + text.encode("utf-8", "surrogatepass")).digest()
        known = self._new.get(digest)
        if known is None:
            known = self._old.get(digest)
            if known is None:
                known = self._count(text)
            if len(self._new) >= MOST:  # what was not asked for during a whole generation is forgotten
                self._old, self._new = self._new, {}
            self._new[digest] = known
        return known
