"""What is said where the driver of Postgres is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamrouter.ledger.driver import postgres

URL = "postgresql://u@127.0.0.1:1/x"


def test_it_is_the_module() -> None:
    assert postgres("connection").__name__ == "streamrouter.ledger.postgres.connection"


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (["serve", "--port", "0", "--ledger", URL], 1),
        (["user", "list", "--ledger", URL], 3),
        (["ledger", "copy", URL, "--ledger", "l.db"], 3),
    ],
)
def test_without_it_every_command_says_how_to_get_it(words: list[str], exit_code: int, tmp_path: Path) -> None:
    code = "import sys; sys.modules['psycopg'] = None\nfrom streamrouter.cli.main import cli\ncli(sys.argv[1:])"
    (tmp_path / "l.db").touch()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("needs the driver psycopg; install it: pip install 'streamrouter[postgres]'\n")
