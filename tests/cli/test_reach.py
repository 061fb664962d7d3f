"""Where a command is carried out: by the server that has the ledger, or here; and what happens when neither can."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrouter.admin.desk import AdminError
from streamrouter.cli.options import Options, Refused
from streamrouter.cli.reach import session
from streamrouter.clock import SystemClock
from streamrouter.config.place import shown
from streamrouter.config.schema import Config, LedgerConfig
from streamrouter.control import ControlServer
from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.lock import Lock
from streamrouter.ops.meeting import socket_path
from tests.cli.conftest import Command
from tests.support.postgres import PASSWORD


async def _serve(path: str, ready: threading.Event, stop: asyncio.Event) -> None:
    ledger = await Ledger.open(
        path, config=LedgerConfig(durability="normal"), clock=SystemClock(), on_fatal=lambda why: None
    )
    control = ControlServer(socket_path(path), ledger, Config, lambda key_id: 5)
    await control.start()
    ready.set()
    await stop.wait()
    await control.close()
    await ledger.close()


@pytest.fixture
def server(command: Command) -> Iterator[None]:
    """A ledger that is being served by somebody else: here, by another thread."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(command.ledger, ready, stop)))
    thread.start()
    assert ready.wait(5)
    yield
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_through_the_server(server: None, command: Command) -> None:
    assert command.json("user", "create", "bob")["user"] == "bob"
    made = command.json("key", "create", "bob")
    assert "5 streams stopped" in command.text("key", "revoke", made["id"], "--now")
    assert command.error("usage", "eve")[1]["code"] == "not_found"


def test_the_server_is_reached_though_our_configuration_is_broken(server: None, command: Command) -> None:
    Path(command.config).write_text("broken")
    assert command.json("user", "list") == []


def test_the_server_is_found_by_the_configurations_ledger(server: None, command: Command) -> None:
    with open(command.config, "a") as config:
        config.write(f'[ledger]\npath = "{command.ledger}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "streamrouter", "user", "list", "--json", "--config", command.config],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []


def test_without_a_server_each_command_opens_the_ledger(command: Command) -> None:
    command.json("user", "create", "bob")
    assert stat.S_IMODE(os.stat(command.ledger + ".lock").st_mode) == 0o600
    assert [user["user"] for user in command.json("user", "list")] == ["bob"]


def test_commands_at_the_same_time_wait_for_each_other(command: Command) -> None:
    words = [sys.executable, "-m", "streamrouter", "user", "create"]
    options = ["--config", command.config, "--ledger", command.ledger]
    running = [subprocess.Popen([*words, f"u{number}", *options], stdout=subprocess.DEVNULL) for number in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(user["user"] for user in command.json("user", "list")) == ["u0", "u1", "u2"]


def test_a_lock_without_a_server_names_the_pid(command: Command) -> None:
    command.json("user", "create", "bob")
    with open(command.ledger + ".lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, error = command.error("user", "list")
    assert (code, error["code"]) == (3, "ledger_unavailable")
    assert f"(pid {os.getpid()})" in error["message"]


def test_a_ledger_that_is_none_is_exit_code_3(command: Command) -> None:
    Path(command.ledger).write_text("not a database, and long enough to be looked at as one" * 100)
    code, error = command.error("user", "list")
    assert (code, error["code"]) == (3, "ledger_unavailable")


def test_a_typing_error_in_the_path_makes_no_ledger(command: Command) -> None:
    assert command.error("usage", "bob")[1]["code"] == "not_found"
    assert not Path(command.ledger).exists()


def test_a_bad_configuration_is_exit_code_1(command: Command) -> None:
    Path(command.config).write_text("[server]\nprot = 1\n")
    code, error = command.error("user", "list")
    assert (code, error["code"], error["faults"][0].split(": ")[1]) == (1, "config_invalid", "server.prot")


def test_a_session_opens_the_file_once_or_asks_the_server(command: Command, request: pytest.FixtureRequest) -> None:
    options = Options(command.config, command.ledger, as_json=True)
    with pytest.raises(Refused, match="there is no ledger"), session(options) as ask:
        ask("user.list", {})
    command.json("user", "create", "bob")
    with session(options) as ask:
        assert [user["user"] for user in ask("user.list", {})] == ["bob"]
        assert ask("ledger.check", {})["ok"]
        with pytest.raises(LedgerError):
            Lock(command.ledger)
        with pytest.raises(AdminError):
            ask("no.such", {})
    request.getfixturevalue("server")
    with session(options) as ask:
        assert ask("user.list", {})[0]["user"] == "bob"


def test_a_ledger_in_a_database_is_worked_on_directly_and_made_by_no_mistake(command: Command, database: str) -> None:
    """By its URL in a file of its own; the password is in nothing that is said."""
    command.ledger = f"file:{command.config}.url"
    Path(f"{command.config}.url").write_text(f"{database}\n")
    code, error = command.error("usage", "bob")
    assert (code, error["code"]) == (1, "not_found")
    assert error["message"] == f"there is no ledger {shown(database)}; `streamrouter user create NAME` makes one"
    assert command.json("user", "create", "bob")["user"] == "bob"
    assert command.json("key", "create", "bob")["key"]
    assert [row["user"] for row in command.json("user", "list")] == ["bob"]
    assert command.error("ledger", "backup", "/tmp/x")[1]["code"] == "backup_failed"
    assert command.error("tail")[1]["message"].startswith(f"no server of {shown(database)} is listening")
    plan = command.json("check")
    assert plan["ledger"] == {"path": shown(database), "exists": None}
    assert PASSWORD not in command.run("check").output


@pytest.mark.parametrize(
    ("place", "code", "said"),
    [
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/books", "ledger_unavailable", "Connection refused"),
        (f"postgresql://u:{PASSWORD}/@127.0.0.1:1/books", "config_invalid", "expected a URL such as"),
        (f"mysql://u:{PASSWORD}@127.0.0.1:1/books", "config_invalid", "begins with postgresql://"),
        ("file:/nowhere", "config_invalid", "cannot read /nowhere"),
    ],
)
def test_a_database_that_is_not_to_be_had(command: Command, place: str, code: str, said: str) -> None:
    command.ledger = place
    for words in (("usage", "bob"), ("ledger", "export"), ("serve", "--port", "0")):
        exit_code, error = command.error(*words)
        assert exit_code == (3 if code == "ledger_unavailable" and "serve" not in words else 1)
        assert error["code"] == code and said in error["message"] and PASSWORD not in error["message"]
