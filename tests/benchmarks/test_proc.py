"""CPU and memory of real process trees, and how processes are started and ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.proc import cpu_s, free_port, listen, listening, machine, rss_mb, start, stop, tree, wait_until

BUSY = "import time; end = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BUSY.format(s=0.15)!r}], check=True)
child = subprocess.Popen([sys.executable, "-c", {BUSY.format(s=0.15)!r} + "print('done', flush=True); input()"],
    stdin=subprocess.PIPE)
{BUSY.format(s=0.1)}
input()
"""


def test_a_tree_is_its_processes_those_that_ended_included() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"done\n"  # the second child has worked; the first one is gone
        assert len(tree(process.pid)) == 2
        assert 0.28 <= cpu_s(process.pid) <= 5
        assert rss_mb(process.pid) > 8
        process.stdin.close()
        process.wait(10)
        assert (tree(process.pid), cpu_s(process.pid), rss_mb(process.pid)) == ([process.pid], 0.0, 0.0)


def test_a_process_and_its_children_end_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(["sh", "-c", "echo began; sleep 60 & sleep 60"], log)
    wait_until(lambda: len(tree(process.pid)) == 3, process, "the shell")
    inside = tree(process.pid)
    assert log.read_text() == "began\n"
    stop(process)
    assert process.returncode is not None
    end = time.monotonic() + 10
    while left := [pid for pid in inside if _runs(pid)]:  # a killed process takes a moment to be gone
        assert time.monotonic() < end, left
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_that_does_not_start_is_told_at_once(tmp_path: Path) -> None:
    process = start([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
    with pytest.raises(RuntimeError, match="the thing ended with exit code 3"):
        wait_until(lambda: False, process, "the thing")


def test_ports() -> None:
    with listen(0) as sock:
        port = sock.getsockname()[1]
        assert not listening(port)
        sock.listen()
        assert listening(port)
    assert free_port() > 0


def test_the_machine() -> None:
    found = machine()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["python"].startswith("3.")
