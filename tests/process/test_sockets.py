"""Passed sockets, in a process of their own: the protocol's descriptors begin at 3 there, and nowhere else."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from streamrouter.config.schema import ServerConfig
from streamrouter.errors import ConfigError
from streamrouter.process import sockets
from streamrouter.process.sockets import Sockets, open_sockets, received

# Passes on what its arguments name ("client": a connection, "pipe": no TCP, else: a listening socket), then takes it.
CHILD = """
import json, os, socket, sys
from streamrouter.config.schema import ServerConfig
from streamrouter.errors import ConfigError
from streamrouter.process.sockets import open_sockets, passed_on, received
named = []
for name in sys.argv[1:]:
    sock = socket.create_server(("127.0.0.1", 0))
    if name == "client":
        there = socket.create_connection(sock.getsockname())
        sock = sock.accept()[0]
    if name == "pipe":
        sock = socket.socketpair()[0]
    named.append((name, sock))
ports = [sock.getsockname()[1] for name, sock in named if name != "pipe"]
environ = passed_on(named, {"HOME": "/"})
inherited = [os.get_inheritable(3 + number) for number in range(len(named))]
try:
    found = open_sockets(ServerConfig(port=0), environ)
except ConfigError as error:
    sys.exit(str(error))
told = {name: [sock.getsockname()[1] for sock in getattr(found, name)] for name in ("api", "machines", "clients")}
kept = [os.get_inheritable(3 + number) for number in range(len(named))]
more = {"origin": found.origin, "ports": ports, "inherited": inherited, "kept": kept, "left": environ}
print(json.dumps({**told, **more}))
os._exit(0) if not sys.stdout.flush() else None
"""


def child(*names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHILD, *names], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("names", "origin"), [(("api", "metrics", "client", "other"), "given"), (("own-api", "own-metrics"), "kept")]
)
def test_what_is_passed_on_is_what_is_received(names: tuple[str, ...], origin: str) -> None:
    done = child(*names)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    by_name = dict(zip(names, found["ports"], strict=True))
    own = "own-" if origin == "kept" else ""
    assert found["api"] == [by_name[name] for name in (own + "api", "other") if name in by_name]
    assert found["machines"] == [by_name[own + "metrics"]]
    assert found["clients"] == [by_name[name] for name in ("client",) if name in by_name]
    assert (found["origin"], found["left"]) == (origin, {"HOME": "/"})
    assert (set(found["inherited"]), set(found["kept"])) == ({True}, {False})


def test_what_cannot_be_served_is_named() -> None:
    done = child("api", "pipe")
    assert done.returncode == 1
    assert "descriptor 4 (pipe) is not a listening TCP socket" in done.stderr


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A listening socket at the first descriptor, and the environment that says so."""
    with ExitStack() as stack:
        sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        descriptor = os.dup(sock.fileno())
        monkeypatch.setattr(sockets, "FIRST", descriptor)
        yield sock, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "streamrouter.socket"}


def test_a_given_socket_comes_before_the_configured_address(passed: tuple[socket.socket, dict[str, str]]) -> None:
    sock, environ = passed
    found = open_sockets(ServerConfig(host="203.0.113.1"), environ)
    assert [each.getsockname() for each in found.api] == [sock.getsockname()]
    assert (found.origin, found.machines, found.clients, environ) == ("given", [], [], {})
    assert found.api[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    assert not found.api[0].getblocking()
    found.close()


@pytest.mark.parametrize("pid", ["", "1", "x"])
def test_what_is_meant_for_another_process_is_not_taken(pid: str) -> None:
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "1"}
    assert received(environ) == Sockets()
    assert environ == {}


def test_a_descriptor_that_is_not_open_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "FIRST", 1_000_000)
    with pytest.raises(ConfigError, match=r"descriptor 1000000 \(\) is not a socket"):
        received({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})


def test_a_socket_whose_address_has_changed_is_not_passed_on() -> None:
    config = ServerConfig(port=0, metrics_port=0)
    bound = open_sockets(config, {})
    moved = ServerConfig(port=0, metrics_port=0, metrics_host="127.0.0.2")
    for after, names in ((config, ["own-api", "own-metrics"]), (moved, ["own-api"])):
        named = bound.listening(config, after)
        assert [name for name, _ in named] == names
        for _, sock in named:
            sock.close()
    given = Sockets(api=bound.api, machines=bound.machines, origin="given")
    named = given.listening(config, moved)
    assert [name for name, _ in named] == ["api", "metrics"]
    for _, sock in named:
        sock.close()
    bound.close()
