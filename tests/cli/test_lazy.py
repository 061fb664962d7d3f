"""What ``--help`` costs: nothing is imported that it does not need."""

from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from streamrouter.cli.main import cli

HEAVY = ("msgspec", "aiosqlite", "aiohttp", "starlette", "rich", "orjson", "asyncio", "tiktoken", "uvloop")


def test_help_imports_click_and_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "streamrouter", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not [name for name in HEAVY if name in imported]
    assert not [name for name in imported if name.startswith("streamrouter.") and ".cli" not in name]


def test_every_command_of_the_table_is_there_and_documented() -> None:
    context = cli.make_context("streamrouter", ["version"])
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None and command.help
        assert command.name == name


def test_an_unknown_command_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli, ["usr"])
    assert result.exit_code == 2
    assert "No such command 'usr'. Did you mean 'user'" in result.output
    assert "Did you mean 'rotate'?" in CliRunner().invoke(cli, ["key", "rotat"]).output
    assert CliRunner().invoke(cli, ["zzzzzz"]).output.rstrip().endswith("No such command 'zzzzzz'.")
