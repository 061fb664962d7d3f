"""``streamrouter user``."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_create_and_list(command: Command) -> None:
    options = ("--input-per-request", "10", "--daily-output", "none", "--models", "demo,demo/large", "--unlimited")
    made = command.json("user", "create", "bob", *options)
    assert (made["user"], made["input_per_request"], made["daily_output"]) == ("bob", 10, None)
    assert (made["models"], made["unlimited"]) == (["demo", "demo/large"], True)
    assert command.json("user", "list") == [made]
    heading, row = command.text("user", "list").splitlines()
    assert heading.split()[:3] == ["user", "status", "in/req"]
    assert row.split()[:4] == ["bob", "active", "10", "none"]


def test_set_leaves_the_rest_alone(command: Command) -> None:
    command.json("user", "create", "bob", "--daily-input", "5", "--requests-per-minute", "7", "--unlimited")
    changed = command.json("user", "set", "bob", "--daily-input", "none", "--no-unlimited", "--models", "demo")
    assert (changed["daily_input"], changed["requests_per_minute"], changed["unlimited"]) == (None, 7, False)
    assert command.json("user", "set", "bob", "--models", "none")["models"] is None


def test_disable_and_enable(command: Command) -> None:
    command.json("user", "create", "bob")
    assert "disabled" in command.text("user", "disable", "bob")
    assert command.json("user", "enable", "bob")["status"] == "active"


def test_no_users_yet_says_how_to_make_one(command: Command) -> None:
    code, error = command.error("user", "list")
    assert (code, error["code"]) == (1, "not_found")
    assert "user create NAME" in error["message"]


def test_what_is_refused_has_exit_code_1_and_a_sentence(command: Command) -> None:
    command.json("user", "create", "bob")
    assert command.error("user", "create", "bob")[0] == 1
    assert command.error("user", "set", "bob")[1]["message"].startswith("nothing to set")
    assert command.error("user", "disable", "eve")[1]["code"] == "not_found"
    assert "did you mean 'demo'" in command.run("user", "set", "bob", "--models", "demmo").stderr


def test_wrong_usage_has_exit_code_2(command: Command) -> None:
    for words in (("user", "create"), ("user", "create", "bob", "--daily-input", "many"), ("user", "rename", "bob")):
        assert command.run(*words).exit_code == 2
