"""A scripted server for the load client, on a thread of its own: a load has its own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from benchmarks.proc import listen
from benchmarks.upstream import Playing, serve


@contextlib.contextmanager
def serving(playing: Playing) -> Iterator[str]:
    """The base URL of the benchmarks' upstream; the model's name says what goes wrong."""
    sock = listen(0)
    port = sock.getsockname()[1]
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve(sock, playing))

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(_until_cancelled(task))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """One that sends an event per millisecond."""
    with serving(Playing(pace_s=0.001)) as url:
        yield url


async def _until_cancelled(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


class Goodbyes:
    """A server that answers one request per connection, and closes without a word when the next one comes."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.requests: list[bytes] = []
        self._context = context
        self._talks: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def close(self) -> None:
        """No more connections; waits for those at hand."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._talks):
            thread.join(10)
            assert not thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._talk, args=(connection,))
            thread.start()
            self._talks.append(thread)

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        self.requests.append(connection.recv(65536))
        body = b'{"choices":[]}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        connection.recv(65536)
        connection.close()


@contextlib.contextmanager
def goodbyes(context: ssl.SSLContext | None = None) -> Iterator[Goodbyes]:
    """One of them. ``context``: it speaks TLS."""
    server = Goodbyes(context)
    try:
        yield server
    finally:
        server.close()
