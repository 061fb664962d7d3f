"""As the first process of a container: a signal to stop is heeded from the beginning on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


def may_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def heeds(pid: str) -> bool:
    """Whether a process has a handler for SIGTERM."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not may_unshare(), reason="no process namespace can be made here")
def test_a_start_can_be_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamrouter", "serve", "--port", "0", "--ledger", str(tmp_path / "ledger.db")]
    outer = subprocess.Popen([*UNSHARE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    try:
        for _ in range(1000):
            if (found := children.read_text().split()) and heeds(found[0]):
                break
            time.sleep(0.01)
        os.kill(int(found[0]), signal.SIGTERM)
        assert outer.wait(10) == 128 + signal.SIGTERM  # a server that serves would drain, and exit with 0
    finally:
        outer.kill()
        outer.communicate()
