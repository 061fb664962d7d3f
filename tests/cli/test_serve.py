"""``streamrouter serve``: what it refuses before it listens."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Command


def test_a_bad_configuration_is_told_with_its_lines(command: Command) -> None:
    Path(command.config).write_text("[server]\nprot = 1\n")
    code, error = command.error("serve")
    assert (code, error["code"]) == (1, "config_invalid")
    assert "prot: unknown key" in error["message"]


def test_a_port_is_a_port(command: Command) -> None:
    for port in ("-1", "65536", "http"):
        assert command.run("serve", "--port", port).exit_code == 2


def test_formats_and_levels_of_the_log_are_known_ones(command: Command) -> None:
    for words in (["--log-format", "xml"], ["--log-level", "loud"]):
        assert command.run("serve", *words).exit_code == 2


def test_a_dry_run_starts_nothing(command: Command) -> None:
    done = command.run("serve", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "")
    assert not os.path.exists(command.ledger)
    Path(command.config).write_text("[server]\nprot = 1\n")
    assert command.error("serve", "--dry-run")[0] == 1


def test_a_second_process_on_the_ledger_exits_1_and_names_the_first(command: Command) -> None:
    command.json("user", "create", "bob")
    with open(command.ledger + ".lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = [sys.executable, "-m", "streamrouter", "serve", "--port", "0"]
        done = subprocess.run(
            [*words, "--config", command.config, "--ledger", command.ledger], capture_output=True, text=True, timeout=20
        )
    assert done.returncode == 1
    assert f"(pid {os.getpid()})" in done.stderr
    assert "Traceback" not in done.stderr
