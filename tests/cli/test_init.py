"""``streamrouter init``: a file of one's own with a first key, never over another one."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamrouter.cli.main import cli
from streamrouter.config.load import load
from tests.cli.conftest import Command

SECRET = "sk-upstream-0123456789"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that we are in, with nothing of ours in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("STREAMROUTER_")]:
        monkeypatch.delenv(name)
    return tmp_path


def init(*words: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(cli, ["init", *words], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_without_questions_the_demo_and_a_key(folder: Path) -> None:
    made = json.loads(init("--json").stdout)
    config = folder / "streamrouter.toml"
    assert (made["config"], made["upstreams"], made["user"]) == ("streamrouter.toml", ["demo"], "default")
    assert made["key"].startswith("sk-")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert load(str(config), {}, {}).warnings == []
    assert made["key"] not in config.read_text()
    users = json.loads(CliRunner().invoke(cli, ["user", "list", "--json"]).stdout)
    assert [user["user"] for user in users] == ["default"]


def test_an_existing_file_is_never_overwritten(folder: Path) -> None:
    (folder / "streamrouter.toml").write_text("mine")
    result = init("--yes")
    assert (result.exit_code, "never overwritten" in result.stderr) == (1, True)
    (folder / "link.toml").symlink_to(folder / "nowhere")
    assert init("--yes", "--config", "link.toml").exit_code == 1
    assert (folder / "streamrouter.toml").read_text() == "mine"
    assert not (folder / "streamrouter.db").exists()


def test_keys_of_the_environment_are_used_and_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    shown = init("--yes", "--user", "alice").stdout
    assert "Upstreams: openai, groq." in shown and "The key of alice:" in shown
    text = (folder / "streamrouter.toml").read_text()
    assert "${OPENAI_API_KEY}" in text and SECRET not in text


def test_a_key_comes_from_a_file_or_stdin(folder: Path) -> None:
    words = ("--upstream-url", "https://llm.example/v1", "--upstream-key-file", "-", "--model", "m", "--port", "9")
    assert init("--yes", *words, stdin=SECRET + "\n").exit_code == 0
    config = load("streamrouter.toml", {}, {}).config
    assert (config.upstreams["upstream"].api_key, list(config.models), config.server.port) == (SECRET, ["m"], 9)


def test_what_could_not_be_loaded_is_not_left_behind(folder: Path) -> None:
    result = init("--yes", "--upstream-url", "ftp://llm.example")
    assert (result.exit_code, "http://" in result.stderr) == (1, True)
    assert not (folder / "streamrouter.toml").exists()
    assert not (folder / "streamrouter.db").exists()


def test_a_ledger_that_has_users_keeps_them(folder: Path, command: Command) -> None:
    command.json("user", "create", "bob")
    result = init("--yes", "--ledger", command.ledger)
    assert "has users already" in result.stdout
    assert [user["user"] for user in command.json("user", "list")] == ["bob"]


def test_it_asks_on_a_terminal_and_does_not_show_what_is_secret(folder: Path) -> None:
    ours, theirs = pty.openpty()
    answers = f"https://llm.example/v1\n{SECRET}\nbig-model\n9001\ncarol\n"
    process = subprocess.Popen(
        [sys.executable, "-m", "streamrouter", "init"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder
    )
    os.close(theirs)
    shown = b""
    for question, answer in zip(
        ("demo)", "none)", "name", "listen on", "first user"), answers.splitlines(), strict=True
    ):
        while question.encode() not in shown.rpartition(b"\n")[2]:
            shown += os.read(ours, 4096)
        os.write(ours, answer.encode() + b"\n")
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the terminal's other end is gone
        pass
    os.close(ours)
    assert process.wait() == 0
    assert SECRET.encode() not in shown and b"The key of carol" in shown
    config = load(str(folder / "streamrouter.toml"), {}, {}).config
    assert config.upstreams["upstream"].api_key == SECRET
    assert (config.server.port, list(config.models)) == (9001, ["big-model"])
