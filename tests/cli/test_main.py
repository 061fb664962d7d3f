"""The root of the command line, and what holds for every command in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streamrouter.cli.main import cli

PAGE = (Path(__file__).parent.parent.parent / "docs" / "cli.md").read_text()
SECRETS = re.compile(r"key|secret|password|token")
NOT_SECRET = {"key_id", "token_id", "max_tokens"}  # names of things, and a number


def commands(command: click.Command = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words: ``key rotate``."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield f"{path} {name}".strip(), found
            yield from commands(found, f"{path} {name}".strip())


ALL = dict(commands())


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    for command in [name for name in ALL if " " not in name]:
        assert f"\n  {command} " in shown
    for code in range(4):
        assert f"\n    {code}  " in shown


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_its_heading_its_help_and_an_example(name: str) -> None:
    assert ALL[name].help
    heading = re.search(rf"^#{{2,4}} {re.escape(name)}$(.*?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert heading is not None, f"docs/cli.md has no heading {name!r}"
    if not isinstance(ALL[name], click.Group):
        assert f"streamrouter {name}" in heading[1], f"docs/cli.md has no example of {name}"


def test_the_page_has_no_command_that_is_none() -> None:
    section = PAGE[PAGE.index("\n## Commands\n") : PAGE.index("\n## Exit codes\n")]
    assert set(re.findall(r"^#{3,4} (.+)$", section, re.M)) == set(ALL)


EXAMPLES = re.findall(r"^(?:\w+=\S+ )?streamrouter (.+)$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)), re.M)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_has_only_what_the_command_takes(example: str) -> None:
    words = shlex.split(re.split(r" [|<>]", example)[0])
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    command.make_context("streamrouter", words).close()  # raises for an option or a value that it does not take


@pytest.mark.parametrize("name", ALL)
def test_no_secret_is_an_argument(name: str) -> None:
    """A process list shows arguments to everybody: a secret is typed unseen, or read from stdin or a file."""
    named = [parameter for parameter in ALL[name].params if SECRETS.search(str(parameter.name))]
    for parameter in named:
        assert str(parameter.name).endswith("_file") or parameter.name in NOT_SECRET, parameter.name


@pytest.mark.parametrize("name", [name for name, found in ALL.items() if not isinstance(found, click.Group)])
def test_every_command_has_json_except_those_whose_output_is_for_another_program(name: str) -> None:
    options = {option for parameter in ALL[name].params for option in parameter.opts}
    assert ("--json" in options) is (name != "completion")
