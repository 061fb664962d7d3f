"""What an upstream sends, on its way to being events: all that one socket read brought is looked at in one go."""

from __future__ import annotations

from collections.abc import Callable

from streamrouter.relay.gaps import Gaps
from streamrouter.wire.sse import Splitter


class Incoming:
    """One stream's, over all its attempts. ``feed`` takes bytes, in order; ``read`` gives the payloads they end."""

    __slots__ = ("_fed", "_most", "_splitter", "feed", "gaps")

    def __init__(self) -> None:
        self._fed: list[bytes] = []
        self._splitter = Splitter()
        self._most = 0  # bytes of an event that may be taken whole
        self.feed: Callable[[bytes], None] = self._fed.append
        self.gaps = Gaps()

    def begin_anew(self, max_event_bytes: int) -> None:
        """Forget what a failed attempt has left."""
        self._splitter = Splitter(max_event_bytes)
        self._most = max_event_bytes
        self._fed.clear()

    def waits(self) -> bool:
        """Bytes were fed and not read."""
        return bool(self._fed)

    def drop(self) -> None:
        """Nobody wants what was fed."""
        self._fed.clear()

    def read(self, now: float) -> list[bytes]:
        """The payloads that the bytes fed complete (``now``: monotonic seconds). Raises EventTooLarge."""
        fed = self._fed
        data = fed[0] if len(fed) == 1 else b"".join(fed)
        fed.clear()
        payloads = self._splitter.feed(data)
        if payloads:
            self.gaps.read(now)
        return payloads

    def lone(self) -> bytes | None:
        """What a read brought, in one piece and from the beginning of an event on; None if it is not like that."""
        fed = self._fed
        return fed[0] if len(fed) == 1 and self._splitter.between and len(fed[0]) <= self._most else None

    def took(self, now: float) -> None:
        """What was fed was one whole event, and is dealt with: ``read`` need not look at it."""
        self._fed.clear()
        self.gaps.read(now)

    def finish(self) -> list[bytes]:
        """The end of the bytes: what that completes."""
        return self._splitter.finish()
