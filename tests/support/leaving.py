"""A client that leaves when it is told to, politely (FIN) or not (RST)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.support.rig import Rig


class Client:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.got = b""

    @classmethod
    async def asking(cls, rig: Rig, body: dict[str, Any], *, unsent: int = 0) -> Client:
        """A connection on which ``body`` has been sent, but for its last ``unsent`` bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.server.port)
        data = rig.http(json.dumps(body).encode())
        writer.write(data[: len(data) - unsent])
        await writer.drain()
        return cls(reader, writer)

    async def until(self, text: bytes, timeout_s: float = 5.0) -> None:
        """Read until ``text`` has come."""
        async with asyncio.timeout(timeout_s):
            while text not in self.got:
                piece = await self._reader.read(65536)
                assert piece, f"closed before {text!r}: {self.got!r}"
                self.got += piece

    @property
    def delivered(self) -> int:
        """How often the word " token" has come: scripts send one token per such word."""
        return self.got.count(b" token")

    def leave(self, how: str) -> None:
        """``rst`` or ``fin``."""
        if how == "rst":
            raw = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@contextlib.contextmanager
def ledger_locked(ledger: Path) -> Iterator[None]:
    """Another program has the ledger's file: nothing is committed meanwhile."""
    connection = sqlite3.connect(ledger, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port whose connections are never made: the queue of its listener is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    await asyncio.sleep(0.02)
    try:
        yield port
    finally:
        for opened in (listener, *fillers):
            opened.close()
