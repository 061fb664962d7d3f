"""What process trees cost, from /proc, and how the benchmark's own processes are started and ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


def tree(pid: int) -> list[int]:
    """A process and all its descendants, as far as they are still there."""
    found = [pid]
    for each in found:
        try:
            tasks = list(Path(f"/proc/{each}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process tree so far: all threads, and children that have ended and were
    waited for (their time is their parent's ``cutime`` and ``cstime``). The kernel tells 10 ms steps."""
    used = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        used += sum(map(int, fields[11:15]))
    return used / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory of a process tree in MB; pages that its processes share count for each of them."""
    return sum(map(_rss_kib, tree(pid))) / 1024


def _rss_kib(pid: int) -> int:
    try:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found.group(1)) if found else 0


def machine() -> dict[str, Any]:
    """What a run's figures depend on, for its record."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model.group(1).strip() if model else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.group(1)) / 2**20) if memory else 0,
        "kernel": ".".join(os.uname().release.split(".")[:2]),
        "busy": round(os.getloadavg()[0], 1),  # before the run: what else the machine does
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listening(port: int) -> bool:
    """Whether somebody accepts connections on a local port."""
    with socket.socket() as sock:
        # Where nobody listens, a socket may be given this very port as its own, and then connects to itself.
        return sock.connect_ex(("127.0.0.1", port)) == 0 and sock.getsockname() != sock.getpeername()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any], what: str, every_s: float = 0.05) -> None:
    """Wait until ``ready``; RuntimeError if the process ends or takes too long (it is ended then)."""
    end = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with exit code {process.returncode} before it answered")
        if time.monotonic() > end:
            stop(process)
            raise RuntimeError(f"{what} did not answer within {START_TIMEOUT_S:.0f} s")
        time.sleep(every_s)


def start(command: list[str], log: Path, **settings: Any) -> subprocess.Popen[bytes]:
    """A process in a group of its own, so that its children end with it; what it says goes to ``log``."""
    with log.open("ab") as opened:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=opened, stderr=opened, start_new_session=True, **settings
        )


def stop(process: subprocess.Popen[Any]) -> None:
    """End a process of ``start`` and its children: asked first, killed after 15 s."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        process.send_signal(number)


def listen(port: int) -> socket.socket:
    """A listening socket's beginning: bound to a local port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    return sock
