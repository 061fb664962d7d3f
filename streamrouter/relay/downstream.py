"""The client's side of a stream: when its status is committed, what is written, and how silence is filled.

A status is committed by the first of: the first upstream event; ``keepalive_s`` of silence after the upstream's 200;
``commit_status_s`` in any case (some clients give up after 60 s without headers). Keep-alives are empty deltas, the
only form that every client accepts.
"""

from __future__ import annotations

from collections.abc import Callable

from streamrouter.relay.sink import Sink

EMPTY_DELTA = b'[{"index":0,"delta":{},"finish_reason":null}]'  # the choices of a keep-alive


class Downstream:
    """One client. ``start(sink)`` commits the status; ``keep_alive()`` gives the event that fills a silence."""

    def __init__(
        self, start: Callable[[Sink], None], keep_alive: Callable[[], bytes], keepalive_s: float, commit_status_s: float
    ) -> None:
        self._start = start
        self._keep_alive = keep_alive
        self._keepalive_s = keepalive_s
        self._commit_status_s = commit_status_s
        self._sink: Sink | None = None
        self._wrote_at = 0.0
        self.committed = False
        self.blocked = False

    def attach(self, sink: Sink) -> None:
        self._sink = sink

    def detach(self) -> bool:
        """The client left; False if it had left (or was served) before."""
        sink, self._sink = self._sink, None
        return sink is not None

    def commit(self, now: float) -> None:
        """Send status 200 and the headers, once; silence counts from here."""
        if not self.committed and self._sink is not None:
            self.committed = True
            self._wrote_at = now
            self._start(self._sink)

    def write(self, data: bytes, now: float) -> None:
        self._wrote_at = now
        if self._sink is not None:
            self._sink.write(data)

    def end(self, data: bytes) -> None:
        """The last bytes; the body ends with them."""
        sink, self._sink = self._sink, None
        if sink is not None and self.committed:
            sink.end(data)

    def tick(self, now: float, began: float, answered_at: float | None) -> None:
        """Commit and fill silence in time. ``answered_at``: when the upstream's 200 came."""
        if not self.committed:
            quiet = answered_at is not None and now - answered_at >= self._keepalive_s
            if not quiet and now - began < self._commit_status_s:
                return
            self.commit(now)
        elif self.blocked or now - self._wrote_at < self._keepalive_s or (self._sink and not self._sink.attended):
            return
        self.write(self._keep_alive(), now)
