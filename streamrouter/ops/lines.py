"""Where log lines go: a file descriptor that is never waited for, and readers inside the process (``tail``).

A pipe whose reader is stuck, or a terminal that was stopped, would hold up the loop and with it every stream. So the
descriptor is asked first whether it takes a write; lines that it does not take wait here, and the oldest stay: whoever
looks for the cause of a trouble needs its beginning.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from collections import deque
from contextlib import suppress
from typing import Any

MOST_WAITING = 2000  # lines; at some 400 bytes each, less than a megabyte
_PIECE_BYTES = select.PIPE_BUF  # a pipe that is ready takes that much at once, and whole
MOST_TAILED = 1000


class Lines:
    """Writes lines to ``fd``; at most ``most`` wait. ``dropped``: how many could not be written (a full disk, a reader
    that is gone or stuck)."""

    def __init__(self, fd: int, most: int = MOST_WAITING) -> None:
        self.dropped = 0
        self._most = most
        self._is_file = False  # it always takes what there is
        self._waiting: deque[bytes] = deque()
        self.move(fd)

    def move(self, fd: int) -> None:
        """Write to another descriptor from now on."""
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        with suppress(OSError):
            self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)

    def put(self, line: bytes) -> None:
        """Write ``line`` (with its end), after those that wait."""
        if len(self._waiting) >= self._most:
            self.flush()
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it is taken now."""
        waiting = self._waiting
        try:
            while waiting and (self._is_file or self._poll.poll(0)):  # an error is ready too: the write says which
                line = waiting[0]
                written = os.write(self.fd, line[:_PIECE_BYTES])
                if written < len(line):
                    waiting[0] = line[written:]
                else:
                    waiting.popleft()
        except OSError:  # full disk, closed pipe, a terminal that hung up: the request matters more than its line
            self.dropped += len(waiting)
            waiting.clear()


class Tail:
    """A reader inside the process: at most ``most`` lines wait for it, then the oldest go (``missed`` counts them).

    ``Log.subscribe()`` makes one, ``Log.unsubscribe(tail)`` ends it. Lines are the JSON objects that the log has, one
    dict each, of every level: ``{"time", "level", "event", …}``; a finished request's ``event`` is ``request``. Used
    on the loop only.
    """

    def __init__(self, most: int = MOST_TAILED) -> None:
        self.missed = 0
        self._lines: deque[dict[str, Any]] = deque(maxlen=most)
        self._there = asyncio.Event()

    def put(self, line: dict[str, Any]) -> None:
        """A line was logged. Never waits."""
        self.missed += len(self._lines) == self._lines.maxlen
        self._lines.append(line)
        self._there.set()

    def take(self) -> list[dict[str, Any]]:
        """What has come since the last time; [] if nothing."""
        found = list(self._lines)
        self._lines.clear()
        self._there.clear()
        return found

    async def wait(self) -> list[dict[str, Any]]:
        """At least one line, once there is one; all that have come."""
        await self._there.wait()
        return self.take()
