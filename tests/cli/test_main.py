"""The root of the command line."""

from __future__ import annotations

from click.testing import CliRunner

from streamrouter.cli.main import cli


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    for command in ("serve", "user", "key", "topup", "usage", "check", "version"):
        assert f"\n  {command} " in shown
    for code in range(4):
        assert f"\n    {code}  " in shown
