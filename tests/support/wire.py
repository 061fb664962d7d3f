"""The wire between a ledger and its Postgres, which can be cut where it hurts: around a COMMIT.

before   the COMMIT never reaches the server
during   it reaches the server, and the connection breaks at once
after    the server has committed, and its answer is lost
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

Cut = Literal["before", "during", "after"]
_ASKED, _DONE = b"COMMIT", b"COMMIT\0"


class Wire:
    """``async with Wire(port) as wire``: whoever connects to ``wire.port`` talks to the server at ``port``."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.port = 0
        self.cuts: list[Cut] = []  # what happens to the next COMMITs, in order
        self.done: list[Cut] = []  # what has happened
        self.down = False  # nobody gets through
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.sever()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sever(self) -> None:
        """Break every connection that there is."""
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
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            while data := await reader.read(1 << 16):
                if _ASKED in data and self.cuts:
                    cut = self.cuts.pop(0)
                    self.done.append(cut)
                    back.cancel()
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


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
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
