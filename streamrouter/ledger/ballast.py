"""Disk space kept for a bad day: a file that is deleted when the disk is full, so that settlements still land."""

from __future__ import annotations

import os
from pathlib import Path


class Ballast:
    """``size_bytes`` of real blocks beside the ledger at ``path``."""

    def __init__(self, path: str, size_bytes: int) -> None:
        self._path = Path(path + ".ballast")
        self._size_bytes = size_bytes
        self.held = False

    def free(self) -> None:
        """Give the space back to the file system."""
        self._path.unlink(missing_ok=True)
        self.held = False

    def restore(self) -> bool:
        """Take the space (again), if the disk has it. True: it is held."""
        if self.held:
            return True
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, self._size_bytes)
            else:
                os.write(fd, bytes(self._size_bytes))
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(fd)
        self.held = True
        return True
