"""The command line against a ledger and a configuration of the test's own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamrouter.cli.main import cli

CONFIG = """\
[upstreams.demo]
base_url = "demo:"
[models.demo]
[models."demo/large"]
[[surface]]
name = "ours"
[[surface]]
name = "wl"
base_path = "/wl/v1"
key_prefix = "wl_"
billing = "prepaid"
topup_minimum = "10"
topup_fee_percent = "5"
"""


class Command:
    """Runs commands on one ledger in this process, as a script would: every one from nothing."""

    def __init__(self, folder: Path) -> None:
        self.config = str(folder / "streamrouter.toml")
        self.ledger = str(folder / "l.db")
        Path(self.config).write_text(CONFIG)

    def run(self, *words: str) -> Result:
        """A command with ``--config`` and ``--ledger``, whatever it comes to. A traceback is a failure of the test."""
        result = CliRunner().invoke(cli, [*words, "--config", self.config, "--ledger", self.ledger])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def text(self, *words: str) -> str:
        """What a command that succeeds prints on stdout."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        """What a command that succeeds gives with ``--json``."""
        return json.loads(self.text(*words, "--json"))

    def error(self, *words: str) -> tuple[int, dict[str, Any]]:
        """The exit code and the error of a command that fails, with ``--json``; stdout stays empty."""
        result = self.run(*words, "--json")
        assert result.stdout == ""
        return result.exit_code, json.loads(result.stderr)["error"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """In a short folder, so that the control socket can stand beside the ledger."""
    for variable in ("STREAMROUTER_CONFIG", "STREAMROUTER_LEDGER", "STREAMROUTER_HOST", "STREAMROUTER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as folder:
        yield Command(Path(folder))
