"""A service manager as far as a server sees one: it holds the listening sockets, is notified, and keeps descriptors."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.rig import until
from tests.support.server import KEY, Server

# Puts the descriptors that it is told at 3, 4, …, says that they are for this process, and becomes the server.
LAUNCH = """
import fcntl, os, sys
given = [int(number) for number in sys.argv[1].split(",")]
above = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3 + len(given) + max(given)) for number in given]
os.closerange(3, min(above))
for number, descriptor in enumerate(above):
    os.dup2(descriptor, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
MOST_BYTES = 4096


class Notified:
    """The manager's end of ``$NOTIFY_SOCKET``: what it was told, in order, and what it keeps by name."""

    def __init__(self, address: str) -> None:
        self.lines: list[str] = []
        self.kept: list[tuple[str, int]] = []
        self._more = asyncio.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        data, rights, _, _ = self._socket.recvmsg(MOST_BYTES, socket.CMSG_SPACE(4))
        descriptors = array.array("i")
        for _, _, packed in rights:
            descriptors.frombytes(packed)
        lines = data.decode().splitlines()
        name = next((line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")), "")
        for descriptor in descriptors:
            if "FDSTORE=1" in lines:
                self.kept.append((name, descriptor))
            else:
                os.close(descriptor)  # of a barrier: all that came before it has been read
        if "FDSTOREREMOVE=1" in lines:
            for _, descriptor in (each for each in self.kept if each[0] == name):
                os.close(descriptor)
            self.kept = [each for each in self.kept if each[0] != name]
        self.lines += lines
        self._more.set()

    async def told(self, line: str, times: int = 1, timeout_s: float = 20.0) -> None:
        """Wait until ``line`` has come so often."""
        async with asyncio.timeout(timeout_s):
            while self.lines.count(line) < times:
                self._more.clear()
                await self._more.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        for _, descriptor in self.kept:
            os.close(descriptor)


class Manager:
    """Runs ``server`` with an activated socket. ``notified`` has what it was told, if it is ``told``."""

    def __init__(self, server: Server, address: str, *, told: bool = True) -> None:
        self.server = server
        self.notified = Notified(address)
        self._told = told
        self._env = {**server.env, **({"NOTIFY_SOCKET": address} if told else {})}
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._out = server.directory / "out.txt"
        self._starts = 0
        server.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"

    def spawn(self) -> subprocess.Popen[str]:
        """Begin a process with the listening socket and everything that was kept."""
        named = [("api", self._listening.fileno()), *self.notified.kept]
        env = {**self._env, "LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": ":".join(name for name, _ in named)}
        numbers = [number for _, number in named]
        words = [sys.executable, "-S", "-c", LAUNCH, ",".join(map(str, numbers)), *self.server.command("serve")]
        with self.server.log.open("a") as log, self._out.open("a") as out:
            process = subprocess.Popen(
                [*words, "--json"],
                cwd=self.server.directory,
                env=env,
                stdout=out,
                stderr=log,
                text=True,
                pass_fds=numbers,
            )
        self.server.process = process
        self._starts += 1
        return process

    async def start(self) -> None:
        """Begin a process and wait until it is ready."""
        self.spawn()
        if self._told:
            await self.notified.told("READY=1", self._starts)
        else:
            await until(lambda: self.server.log.read_text().count('"started"') == self._starts, "started", 20)
        key = KEY.search(Path(self._out).read_text())
        if key is not None:
            self.server.key = key.group(1)

    async def stop(self) -> int:
        """The exit code of the process, after a signal to stop."""
        process = self.server.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, 30)

    def close(self) -> None:
        """Everything ends."""
        if self.server.process is not None:
            self.server.process.kill()
            self.server.process.wait()
        self.notified.close()
        self._listening.close()
