"""``streamrouter completion``: what a shell asks, and what it is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from streamrouter.cli.main import cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(shell: str) -> None:
    shown = CliRunner().invoke(cli, ["completion", shell])
    assert shown.exit_code == 0
    assert f"_STREAMROUTER_COMPLETE={shell}_complete" in shown.output


def test_another_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(cli, ["completion", "csh"]).exit_code == 2


def test_a_tab_is_answered_without_importing_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "streamrouter"],
        env={
            **os.environ,
            "_STREAMROUTER_COMPLETE": "bash_complete",
            "COMP_WORDS": "streamrouter us",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["plain,user", "plain,usage"]
    assert "msgspec" not in done.stderr
