"""What a service manager is told (sd_notify(3)), and what it keeps for the next process. Without one nothing is sent.

A datagram of ``NAME=value`` lines to the socket that ``$NOTIFY_SOCKET`` names: a path, or with ``@`` an abstract one.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping

SEND_TIMEOUT_S = 2.0  # the manager's queue is full: it is busy, or gone
BARRIER_TIMEOUT_S = 5.0
STORED = "client"


def is_ours(pid: str) -> bool:
    """Whether a manager means this process: the one-file program's first process starts the one that serves."""
    ours = {os.getpid()} | ({os.getppid()} if getattr(sys, "frozen", False) else set())
    return pid.isdigit() and int(pid) in ours


class Manager:
    """The service manager of ``environ``. ``watchdog_s``: how often it wants to hear of us; None: never."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        period, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        wanted = bool(self._address) and period.isdigit() and int(period) > 0 and (not pid or is_ours(pid))
        self.watchdog_s = int(period) / 1_000_000 if wanted else None

    @property
    def present(self) -> bool:
        """There is somebody to tell."""
        return bool(self._address)

    def tell(self, *lines: str, descriptor: int | None = None) -> bool:
        """Send ``lines``, and a descriptor with them; False where nobody can be told."""
        if not self._address:
            return False
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendmsg(["\n".join(lines).encode()], rights, 0, self._address)
        except OSError:  # a manager that has gone must not take the service with it
            return False
        return True

    def ready(self, status: str) -> None:
        """Requests are accepted.

        What was kept for us is ours now: as long as the manager has a copy, no client sees that we close.
        """
        self.tell("FDSTOREREMOVE=1", f"FDNAME={STORED}")
        self.tell("READY=1", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """A signal to stop has come."""
        self.tell("STOPPING=1", f"STATUS={status}")

    def succeeded(self, status: str) -> None:
        """A newer program takes this one's place in the same process, and will say when it is ready."""
        self.tell(*_reloading(), f"STATUS={status}")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Around the reading of a configuration, whatever becomes of it."""
        self.tell(*_reloading())
        try:
            yield
        finally:
            self.tell("READY=1")

    def store(self, sock: socket.socket) -> bool:
        """Have ``sock`` kept for the next process, which gets it as it gets the listening ones."""
        return self.tell("FDSTORE=1", f"FDNAME={STORED}", descriptor=sock.fileno())

    def barrier(self, timeout_s: float = BARRIER_TIMEOUT_S) -> bool:
        """Wait until the manager has read all that it was sent (blocking): it forgets what a dead process had sent."""
        ours, theirs = os.pipe()
        try:
            sent = self.tell("BARRIER=1", descriptor=theirs)
            os.close(theirs)
            waiting = select.poll()
            waiting.register(ours, 0)
            return sent and bool(waiting.poll(timeout_s * 1000))
        finally:
            os.close(ours)

    async def watch(self) -> None:
        """Say from the event loop that it turns, twice in every period, until cancelled."""
        while self.watchdog_s is not None:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)


def _reloading() -> tuple[str, str]:
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
