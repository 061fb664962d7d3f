"""One process owns a ledger: an flock on ``<ledger>.lock``, held for life.

The lock is a file of its own. Opening and closing any descriptor of the database itself would drop SQLite's POSIX locks
on it, in this process, silently.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import msgspec

from streamrouter.errors import LedgerError


class Holder(msgspec.Struct, frozen=True):
    """Who runs the ledger: its process, how often the ledger has been opened, and its control socket."""

    pid: int = 0
    boot: int = 0
    socket: str = ""


def holder(path: str) -> Holder | None:
    """What the lock file of the ledger at ``path`` says (of the last run, if none runs now), or None without one."""
    try:
        return msgspec.json.decode(Path(path + ".lock").read_bytes(), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None


class Lock:
    """The lock of the ledger at ``path``. LedgerError names the process that holds it."""

    def __init__(self, path: str) -> None:
        self._path = path + ".lock"
        self.before = holder(path)  # the run before this one
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(
                f"{self._path}: {error.strerror}; the directory of the ledger must exist and be writable"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise LedgerError(f"{self._path}: cannot be locked: {error.strerror}; use a local disk") from error
            pid = self.before.pid if self.before else 0
            raise LedgerError(
                f"{path}: another streamrouter (pid {pid or 'unknown'}) runs on this ledger; stop it, "
                "or give this one another ledger.path"
            ) from error
        self.write(Holder(pid=os.getpid(), boot=self.before.boot if self.before else 0))

    def write(self, holder: Holder) -> None:
        """Say who holds it (for people and for the control client; the lock itself is the flock)."""
        data = msgspec.json.encode(holder)
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))

    def release(self) -> None:
        """Let the next process have it. The file stays: removing it would let two processes lock different files."""
        os.close(self._fd)
