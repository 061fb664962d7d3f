"""A real Postgres for tests: Debian's programs, a cluster of our own, and a fresh database in milliseconds.

``with Cluster() as cluster: cluster.database()`` gives the URL of an empty database. Whoever runs the tests, it works:
Postgres refuses to run as root, so root's cluster belongs to the user that the package has made. A guard outlives us by
a moment: it stops the server and removes its files however this process ends.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg

USER, PASSWORD = "streamrouter", "pw-4f1c"  # what must never be seen in a log
_WITHIN_S = 20.0
# Durable is what the server was told, not what a disk has: nobody cuts the power here, and a server that is stopped at
# once finds its files as it left them. All else is as it is delivered.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "deadlock_timeout": "400ms",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "log_min_messages": "warning",
}
# Waits for its input to end, which is when we do; $1 is the folder of the cluster.
_GUARD = """
cat >/dev/null
kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"
for _ in $(seq 100); do [ -e "$1/data/postmaster.pid" ] && sleep 0.05; done
rm -rf "$1"
"""


class Cluster:
    """One server with as many databases as are asked for. It sorts as a person's locale does, unlike the ledger."""

    def __init__(self, **settings: str) -> None:
        """``settings``: of postgresql.conf."""
        self._programs = programs()
        self._root = Path(tempfile.mkdtemp(prefix="srpg-"))
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._root)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self.port = _port()
        self._settings = {**_SETTINGS, **settings, "port": str(self.port), "unix_socket_directories": str(self._root)}
        try:
            self._make()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self._root, owner.pw_uid, owner.pw_gid)
        password = self._root / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # in a folder that nobody else may enter
        subprocess.run(
            [
                *_as_postgres(),
                str(self._programs / "initdb"),
                "--no-sync",
                "--no-instructions",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--locale-provider=icu",
                "--icu-locale=en-US",
                "--auth-local=trust",
                "--auth-host=password",
                f"--username={USER}",
                f"--pwfile={password}",
                f"--pgdata={self._root / 'data'}",
            ],
            check=True,
            capture_output=True,
            cwd="/",
        )

    def start(self) -> None:
        """Start the server, where it does not run, and wait until it answers."""
        if self._server is not None:
            return
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self._root / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*_as_postgres(), str(self._programs / "postgres"), f"-D{self._root / 'data'}", *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + _WITHIN_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"postgres did not start: {error}; its log: {self.log()}") from error
                time.sleep(0.01)

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: ``fast`` ends every session, ``immediate`` is as if it had crashed."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
            self._server.wait(_WITHIN_S)
            self._server = None

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop("immediate")
        shutil.rmtree(self._root, ignore_errors=True)
        with contextlib.suppress(OSError), self._guard:
            self._guard.kill()

    def log(self) -> str:
        """What the server has said."""
        return (self._root / "log").read_text(errors="replace")

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection of the test's own, to a database by its name or its URL."""
        return psycopg.connect(self.url(urlsplit(database).path.lstrip("/")), autocommit=True)

    def url(self, name: str, port: int | None = None) -> str:
        """The URL of a database, as an operator writes it. ``port``: of a proxy before the server."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{name}"

    def database(self, template: str = "template0") -> str:
        """The URL of a new database: an empty one, or a copy of another one that nobody is connected to."""
        name = f"t{next(self._numbers)}"
        origin = urlsplit(template).path.lstrip("/")
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {origin} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, and end whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path.lstrip('/')} WITH (FORCE)")


def programs() -> Path:
    """The folder of the newest Postgres that is installed: Debian keeps its programs out of the PATH."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(re.sub(r"\D", "", path.parts[4]))
    )
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    if elsewhere is None:
        raise RuntimeError("Postgres is not installed; tests/install.sh installs what the tests need")
    return Path(elsewhere).resolve().parent


def _port() -> int:
    """A port that nobody listens on, and that no client is given while the server is away."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _as_postgres() -> list[str]:
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
