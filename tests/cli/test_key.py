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


def test_a_grace_leaves_the_old_key_an_end(command: Command) -> None:
    command.json("user", "create", "bob")
    old = command.json("key", "create", "bob", "--concurrency", "2")
    shown = command.text("key", "rotate", old["id"], "--grace", "24h")
    assert "The old one stays good for 1 day." in shown
    first, second = command.json("key", "list", "bob")
    assert (first["status"], first["replaced_by"], second["replaces"]) == ("active", second["id"], old["id"])
    assert first["expires"] > second["created"] and second["expires"] is None
    listed = command.text("key", "list", "bob")
    assert first["expires"] in listed and " ending " in listed
    assert "was rotated already" in command.error("key", "rotate", old["id"], "--grace", "1h")[1]["message"]
    for grace in ("24", "h", "-1h", "1y"):
        assert command.run("key", "rotate", second["id"], "--grace", grace).exit_code == 2
    assert command.error("key", "rotate", second["id"], "--grace", "400d")[1]["code"] == "invalid_arguments"


def test_set_changes_what_is_named(command: Command) -> None:
    command.json("user", "create", "bob")
    made = command.json("key", "create", "bob", "--models", "demo", "--concurrency", "2")
    assert command.json("key", "set", made["id"], "--concurrency", "5")["concurrency"] == 5
    assert "0/5" in command.text("key", "set", made["id"], "--models", "none")
    assert command.json("key", "list", "bob")[0]["models"] is None


def test_no_keys_yet_says_how_to_make_one(command: Command) -> None:
    command.json("user", "create", "bob")
    assert "key create bob" in command.text("key", "list", "bob")
    assert command.json("key", "list", "bob") == []


def test_unknown_names(command: Command) -> None:
    command.json("user", "create", "bob")
    assert command.error("key", "create", "eve")[1]["code"] == "not_found"
    assert command.error("key", "revoke", "key_x")[1]["code"] == "not_found"
    assert "did you mean 'ours'" in command.error("key", "create", "bob", "--surface", "our")[1]["message"]
