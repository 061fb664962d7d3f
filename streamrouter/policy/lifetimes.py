"""How long sessions and links are good for. Times are Unix nanoseconds and come as arguments."""

from __future__ import annotations

from typing import Literal

Purpose = Literal["setup", "invite", "reset"]

_S = 1_000_000_000
IDLE_NS = 30 * 60 * _S  # a session that nobody used for that long has ended
ABSOLUTE_NS = 12 * 3600 * _S  # and every session that long after its sign-in
SEEN_NS = 60 * _S  # its last use is written down no more often than that
LINK_NS: dict[Purpose, int] = {"setup": 30 * 60 * _S, "invite": 72 * 3600 * _S, "reset": 24 * 3600 * _S}


def alive(created_ns: int, seen_ns: int, now_ns: int) -> bool:
    """Whether a session still is one. ``seen_ns`` may lag behind its last use by ``SEEN_NS``, never the other way."""
    return now_ns - created_ns < ABSOLUTE_NS and now_ns - seen_ns < IDLE_NS
