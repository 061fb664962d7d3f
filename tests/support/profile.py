"""How much a long test does: a little on every push, all of it with ``STREAMROUTER_LONG=1`` (docs/testing.md)."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("STREAMROUTER_LONG"))


def scaled(push: int, long: int) -> int:
    """``long`` in the long profile, else ``push``."""
    return long if LONG else push
