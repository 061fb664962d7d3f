"""Sockets that were open before this process: a service manager's, or those of the program whose place it has taken.

Both come by the same protocol (sd_listen_fds(3)): descriptors from 3 on, counted by ``LISTEN_FDS``, meant for
``LISTEN_PID``, named by ``LISTEN_FDNAMES``. A listening socket named ``metrics`` is the metrics' own listener, any
other is the API's; ``client`` is a client's connection that is between two requests. Nothing that waits in any of them
is lost while one process goes and the next one comes.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Mapping, MutableMapping
from typing import Literal

from msgspec import Struct, field

from streamrouter.config.schema import ServerConfig
from streamrouter.errors import ConfigError
from streamrouter.process.machines import listen_for_machines
from streamrouter.process.notify import STORED, is_ours
from streamrouter.server.server import listen, tune

FIRST = 3
METRICS = "metrics"
OWN = "own-"  # before a name: bound by ourselves, so nobody else holds it open


class Sockets(Struct, frozen=True, kw_only=True):
    """``origin``: ``bound`` by this process, ``kept`` from the program before it, or ``given`` by a service manager."""

    api: list[socket.socket] = field(default_factory=list)
    machines: list[socket.socket] = field(default_factory=list)
    clients: list[socket.socket] = field(default_factory=list)
    origin: Literal["bound", "kept", "given"] = "bound"

    @property
    def given(self) -> bool:
        """Somebody else holds them open: they outlive this process."""
        return self.origin == "given"

    def close(self) -> None:
        """Close all."""
        for sock in (*self.api, *self.machines, *self.clients):
            sock.close()

    def listening(self, before: ServerConfig, after: ServerConfig) -> list[tuple[str, socket.socket]]:
        """What to pass on: a second descriptor of each listening socket, and its name.

        A socket of ours whose address is another one in the configuration ``after`` is left out.
        """
        own = "" if self.given else OWN
        named = []
        if self.given or (before.host, before.port) == (after.host, after.port):
            named += [(own + "api", sock) for sock in self.api]
        if self.given or (before.metrics_host, before.metrics_port) == (after.metrics_host, after.metrics_port):
            named += [(own + METRICS, sock) for sock in self.machines]
        return [(name, sock.dup()) for name, sock in named]


def open_sockets(config: ServerConfig, environ: MutableMapping[str, str]) -> Sockets:
    """What was passed to this process; what is missing is bound by the configuration.

    Raises ConfigError for a descriptor that cannot be served, OSError for an address that cannot be had.
    """
    found = received(environ)
    for sock in (*found.api, *found.machines):
        tune(sock, config.stalled_client_s)
    return Sockets(
        api=found.api or listen(config.host, config.port, config.stalled_client_s),
        machines=found.machines or listen_for_machines(config),
        clients=found.clients,
        origin=found.origin,
    )


def received(environ: MutableMapping[str, str]) -> Sockets:
    """What was passed to this process. The variables are taken out: they are not for its children.

    Raises ConfigError where something else than a TCP socket was passed.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not is_ours(pid) or not count.isdigit():
        return Sockets()
    api: list[socket.socket] = []
    machines: list[socket.socket] = []
    clients: list[socket.socket] = []
    own = False
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        sock = _socket(FIRST + number, name)
        if name == STORED:
            clients.append(sock)
            continue
        own = own or name.startswith(OWN)
        (machines if name.removeprefix(OWN) == METRICS else api).append(sock)
    return Sockets(
        api=api, machines=machines, clients=clients, origin="kept" if own else "given" if api or machines else "bound"
    )


def _socket(descriptor: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} ({name}) is not a socket: {error.strerror}") from None
    tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    listens = tcp and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    if not tcp or listens is (name == STORED):
        raise ConfigError(f"LISTEN_FDS: descriptor {descriptor} ({name}) is not a listening TCP socket")
    sock.setblocking(False)
    return sock


def passed_on(named: list[tuple[str, socket.socket]], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the sockets where the program that takes this one's place looks for them; its environment.

    Whatever was open at these descriptors is gone after that. Of more than half as many as the process may have, the
    last ones are left out: each needs a second descriptor for a moment.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    named = named[: max(1, most // 2 - 32)]
    above = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST + len(named)) for _, sock in named]
    for number, descriptor in enumerate(above):
        os.dup2(descriptor, FIRST + number, inheritable=True)
    names = ":".join(name for name, _ in named)
    return {**environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": names}
