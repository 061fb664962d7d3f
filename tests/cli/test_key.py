"""``streamrouter key``: a secret is printed once."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_create_shows_the_key_once(command: Command) -> None:
    command.json("user", "create", "bob")
    shown = command.text("key", "create", "bob")
    secret = next(word for word in shown.split() if word.startswith("sk-"))
    assert "will not be shown again" in shown
    listed = command.text("key", "list", "bob") + command.text("key", "list", "bob", "--json")
    assert secret not in listed
    assert secret[-4:] in listed


def test_create_for_programs(command: Command) -> None:
    command.json("user", "create", "bob")
    made = command.json("key", "create", "bob", "--models", "demo", "--concurrency", "3", "--surface", "wl")
    assert made["id"].startswith("key_")
    assert made["key"].startswith("wl_")
    assert (made["models"], made["concurrency"], made["surface"]) == (["demo"], 3, "wl")
    assert [key["id"] for key in command.json("key", "list", "bob")] == [made["id"]]


def test_a_warning_is_on_stderr(command: Command) -> None:
    command.json("user", "create", "bob", "--models", "demo")
    result = command.run("key", "create", "bob", "--models", "demo/large", "--json")
    assert "may not use demo/large" in result.stderr
    assert '"key": "sk-' in result.stdout


def test_rotate_and_revoke(command: Command) -> None:
    command.json("user", "create", "bob")
    old = command.json("key", "create", "bob")
    new = command.json("key", "rotate", old["id"])
    assert new["replaces"] == old["id"]
    assert new["key"] != old["key"]
    assert "is revoked, 0 streams stopped" in command.text("key", "revoke", new["id"], "--now")
    assert [key["status"] for key in command.json("key", "list", "bob")] == ["revoked", "revoked"]
    assert "will not be shown again" in command.text("key", "rotate", command.json("key", "create", "bob")["id"])


def test_no_keys_yet_says_how_to_make_one(command: Command) -> None:
    command.json("user", "create", "bob")
    assert "key create bob" in command.text("key", "list", "bob")
    assert command.json("key", "list", "bob") == []


def test_unknown_names(command: Command) -> None:
    command.json("user", "create", "bob")
    assert command.error("key", "create", "eve")[1]["code"] == "not_found"
    assert command.error("key", "revoke", "key_x")[1]["code"] == "not_found"
    assert "did you mean 'ours'" in command.error("key", "create", "bob", "--surface", "our")[1]["message"]
