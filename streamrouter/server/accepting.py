"""Accepting connections, and not accepting them: where descriptors run out, new connections wait in the kernel (F50).

The loop's own servers cannot pause (uvloop closes what it cannot accept), so a listening socket is read here. Some
descriptors are left for the connections to upstreams and for files: a client that is let in can also be served.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

BACKLOG = 2048
AT_ONCE = 64  # connections taken in one turn of the loop: streams go on in between
RETRY_S = 0.1
LEFT = 32  # descriptors that connections of clients may not take, or a quarter of a low limit
_NOT_NOW = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class Acceptor:
    """One listening socket. ``made``: the protocol of a connection; ``tls``: how it is encrypted (tls.listening)."""

    def __init__(self, sock: socket.socket, made: Callable[[], asyncio.BaseProtocol], tls: dict[str, Any]) -> None:
        self._sock = sock
        self._made = made
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._told = False
        self._beginning: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Accept no more. The socket stays open, and so does what waits in it for whoever else has it."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
        if self._retry is not None:
            self._retry.cancel()

    def close(self) -> None:
        """Accept no more, and close the socket: unless another process has it open too, the port is shut."""
        self.stop()
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NOT_NOW:
                    raise
                self._pause()
                return
            number = client.fileno()
            self._begin(client)
            if number >= most_descriptors():
                self._pause()
                return
            self._told = False

    def _begin(self, client: socket.socket) -> None:
        client.setblocking(False)
        task = self._loop.create_task(self._connect(client))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _connect(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._made, client, **self._tls)
        except OSError:  # it left meanwhile, or its handshake failed
            client.close()

    def _pause(self) -> None:
        if not self._told:
            log.warning("descriptors run out: new connections wait (raise the limit of open files, ulimit -n)")
            self._told = True
        self._loop.remove_reader(self._sock)
        self._retry = self._loop.call_later(RETRY_S, self._resume)

    def _resume(self) -> None:
        if self._next_descriptor() < most_descriptors():
            self._loop.add_reader(self._sock, self._accept)
        else:
            self._retry = self._loop.call_later(RETRY_S, self._resume)

    def _next_descriptor(self) -> int:
        try:
            number = os.dup(self._sock.fileno())
        except OSError:
            return sys.maxsize
        os.close(number)
        return number


def most_descriptors() -> int:
    """The number from which on no descriptor is given to a client; the limit may change while the process runs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(LEFT, limit // 4)
