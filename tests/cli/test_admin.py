"""``streamrouter admin``: a console is governed without a browser; passwords come from standard input alone."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamrouter.cli.main import cli
from tests.cli.conftest import Command

PASSWORD = "correct horse battery"


def typed(command: Command, text: str, *words: str) -> Result:
    result = CliRunner().invoke(cli, [*words, "--config", command.config, "--ledger", command.ledger], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def made(command: Command, name: str = "anna") -> dict[str, Any]:
    result = typed(command, f"{PASSWORD}\n", "admin", "create", name, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_first_admin_makes_the_ledger(command: Command) -> None:
    result = typed(command, f"{PASSWORD}\r\n", "admin", "create", "anna")
    assert (result.exit_code, result.stdout) == (0, "anna is an admin: sign in at /console.\n")
    (anna,) = command.json("admin", "list")
    assert (anna["name"], anna["role"], anna["status"], anna["last_seen"]) == ("anna", "admin", "active", None)
    assert "anna" in command.text("admin", "list")
    assert PASSWORD not in result.output + str(anna)


@pytest.mark.parametrize(("text", "told"), [("", "no password"), ("short\n", "at least 10"), ("anna\n", "at least")])
def test_which_passwords_are_not_taken(command: Command, text: str, told: str) -> None:
    result = typed(command, text, "admin", "create", "anna", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["code"]) == (1, "invalid_value") and told in error["message"]


def test_a_name_is_taken_once(command: Command) -> None:
    made(command)
    again = typed(command, f"{PASSWORD}\n", "admin", "create", "Anna")
    assert again.exit_code == 1 and "already" in again.stderr


def test_a_reset_prints_a_link_once(command: Command) -> None:
    made(command)
    shown = command.text("admin", "reset", "anna")
    assert "/console/join#t=" in shown and "once" in shown
    assert command.json("admin", "reset", "anna")["person"]["name"] == "anna"
    assert command.error("admin", "reset", "nobody") == (
        1,
        {"code": "not_found", "message": "there is no person 'nobody'; see: streamrouter admin list"},
    )


def test_tokens_are_shown_once(command: Command) -> None:
    made(command)
    assert "No admin tokens yet" in command.text("admin", "token", "list")
    shown = command.text("admin", "token", "create", "ci", "--ref", "r-1")
    secret = next(word for word in shown.split() if word.startswith("sra_"))
    assert "will not be shown again" in shown
    assert "Already made" in command.text("admin", "token", "create", "ci", "--ref", "r-1")
    listed = command.text("admin", "token", "list") + command.text("admin", "token", "list", "--json")
    assert secret not in listed and secret[-4:] in listed
    made_now = command.json("admin", "token", "create", "cd")
    assert made_now["token"].startswith("sra_")
    assert command.json("admin", "token", "revoke", made_now["id"]) == {"id": made_now["id"], "revoked": True}
    assert "is revoked" in command.text("admin", "token", "revoke", command.json("admin", "token", "list")[0]["id"])
    assert command.error("admin", "token", "revoke", "tok_x")[1]["code"] == "not_found"


def test_nobody_yet(command: Command) -> None:
    assert command.error("admin", "list")[1]["code"] == "not_found"  # a ledger is not made by looking
    command.json("user", "create", "bob")
    assert "admin create NAME" in command.text("admin", "list")


def test_the_books_say_that_it_was_the_command_line_and_no_secret(command: Command) -> None:
    made(command)
    link = command.json("admin", "reset", "anna")["link"].partition("=")[2]
    token = command.json("admin", "token", "create", "ci")["token"]
    raw = sqlite3.connect(command.ledger)
    rows = raw.execute("SELECT DISTINCT actor FROM audit").fetchall()
    dump = "\n".join(raw.iterdump())
    raw.close()
    assert rows == [("command line",)]
    assert not [secret for secret in (PASSWORD, link, token) if secret in dump]
