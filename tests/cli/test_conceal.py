"""What ``ps`` shows of a command line with a password in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "hunter2hunter2"
URL = f"postgresql://books:{SECRET}@127.0.0.1:1/books"
LOOK = "\nprint(open('/proc/self/cmdline').read())"
linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no such file here")


def looked(code: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", code + LOOK, *words], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux
@pytest.mark.parametrize("words", [["--ledger", URL], [f"--ledger={URL}"], ["--ledger", URL, "--ledger", URL]])
def test_the_password_is_gone_and_the_rest_is_as_it_was(words: list[str]) -> None:
    code = "import sys; from streamrouter.cli.conceal import conceal\n"
    shown = looked(code + f"conceal({URL!r}, 'postgresql://books@127.0.0.1:1/books')", *words, "--json")
    assert SECRET not in shown
    assert "postgresql://books@127.0.0.1:1/books\0" in shown and "--json" in shown


@linux
def test_a_command_does_it_before_anything_else() -> None:
    """Every command has --ledger by the same option."""
    code = "import sys; from streamrouter.cli.main import cli; cli(sys.argv[1:], standalone_mode=False)"
    shown = looked(code, "version", "--ledger", URL)
    assert SECRET not in shown and "version" in shown


def test_what_is_not_there_is_not_looked_for() -> None:
    assert "conceal" in looked("from streamrouter.cli.conceal import conceal; conceal('x' * 40, '')\nprint('conceal')")
