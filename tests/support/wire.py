"""The wire between a ledger and its Postgres, which can be cut where it hurts: around a COMMIT.

before   the COMMIT never reaches the server
during   it reaches the server, and the connection breaks at once
after    the server has committed, and its answer is lost
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Literal

Cut = Literal["before", "during", "after"]
_DONE = b"COMMIT\0"
_WISHES = (80877103, 80877104)  # for TLS and GSSAPI, before the real beginning


class Reader:
    """What a client says, just enough of it to notice a COMMIT: in words, or by the name it was prepared under."""

    def __init__(self) -> None:
        self._unread = b""
        self._begun = False
        self._names: set[bytes] = set()

    def commits(self, data: bytes) -> bool:
        """Whether a COMMIT ends in ``data``."""
        self._unread += data
        found = False
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"P":
                name, statement, _ = body.split(b"\0", 2)
                if statement == b"COMMIT":
                    self._names.add(name)
            elif kind == b"B":
                found = found or body.split(b"\0", 2)[1] in self._names
            elif kind == b"Q":
                found = found or body == _DONE
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        at = 1 if self._begun else 0
        if len(self._unread) < at + 8 - 4 * at:
            return None
        length = int.from_bytes(self._unread[at : at + 4], "big")
        if len(self._unread) < at + length:
            return None
        kind, body = self._unread[:at], self._unread[at + 4 : at + length]
        self._unread = self._unread[at + length :]
        if not self._begun:
            self._begun = int.from_bytes(body[:4], "big") not in _WISHES
        return kind, body


class Wire:
    """``with Wire(port) as wire``: whoever connects to ``wire.port`` talks to the server at ``port``.

    It lives in a thread of its own: a test may wait for what goes through it.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.port = 0
        self.cuts: list[Cut] = []  # what happens to the next COMMITs, in order
        self.done: list[Cut] = []  # what has happened
        self.down = False  # nobody gets through
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="wire")

    def __enter__(self) -> Wire:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._end, self._passes = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._passes.set()
        listener = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        listener.close()
        self._passes.set()
        self._sever()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """From now on the server hears what it is asked, and nobody hears it."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def thaw(self) -> None:
        """Its answers pass."""
        self._loop.call_soon_threadsafe(self._passes.set)

    def sever(self) -> None:
        """Break every connection that there is."""
        self._loop.call_soon_threadsafe(self._sever)

    def _sever(self) -> None:
        for writer in list(self._links):
            writer.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._links.add(writer)
        try:
            if not self.down:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
                self._links.add(far_writer)
                try:
                    await self._relay(reader, writer, far_reader, far_writer)
                finally:
                    self._links.discard(far_writer)
                    far_writer.transport.abort()
        except OSError:
            pass  # an end of it has gone
        finally:
            self._links.discard(writer)
            writer.transport.abort()

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        back, said = asyncio.create_task(self._answer(far_reader, writer)), Reader()
        try:
            while data := await reader.read(1 << 16):
                if said.commits(data) and self.cuts:
                    cut = self.cuts.pop(0)
                    self.done.append(cut)
                    back.cancel()
                    await asyncio.gather(back, return_exceptions=True)
                    if cut != "before":
                        far_writer.write(data)
                        await far_writer.drain()
                    if cut == "after":
                        await _until_committed(far_reader)
                    return
                far_writer.write(data)
                await far_writer.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


async def _until_committed(reader: asyncio.StreamReader) -> None:
    seen = b""
    while _DONE not in seen:
        data = await reader.read(1 << 16)
        if not data:
            return
        seen = seen[-len(_DONE) :] + data
