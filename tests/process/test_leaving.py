"""Two ways out, as one connection sees them; signals and streams are with the journeys (test_drain, test_restart)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamrouter.config.schema import ServerConfig
from streamrouter.ops.logs import Log
from streamrouter.process.leaving import Leaving
from streamrouter.process.notify import Manager
from streamrouter.server.server import Server, listen
from tests.support.asgi import Rig, running

READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
CONFIG = ServerConfig(drain_timeout_s=5)


@asynccontextmanager
async def departing(directory: Path) -> AsyncIterator[tuple[Rig, Leaving, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server, its way out, and a client that has been answered once."""
    async with running(directory) as rig:
        sockets = listen("127.0.0.1", 0, 30)
        server = Server(rig.app.asgi, CONFIG, sockets)
        await server.start()
        reader, writer = await asyncio.open_connection(*sockets[0].getsockname())
        writer.write(READY)
        assert await reader.readuntil(b"[]}")
        with (directory / "log").open("w") as log:
            leaving = Leaving(rig.app, server, Log(rig.clock, fd=log.fileno()), Manager({}), asyncio.Event())
            yield rig, leaving, reader, writer
        writer.close()


async def test_nobody_follows(tmp_path: Path) -> None:
    async with departing(tmp_path) as (rig, leaving, reader, _):
        await leaving.for_good(CONFIG)
        assert rig.app.reasons() == ["draining"]
        assert await reader.read() == b""
        assert '"event":"draining"' in (tmp_path / "log").read_text()


async def test_another_one_goes_on_with_the_same_connection(tmp_path: Path) -> None:
    async with departing(tmp_path) as (rig, leaving, reader, writer):
        kept: list[socket.socket] = []
        told: list[str] = []
        refusing: list[bool] = []

        def keep(client: socket.socket) -> bool:
            refusing.append(rig.app.draining)
            kept.append(client.dup())
            return True

        await leaving.for_another(CONFIG, keep, told.append)
        assert (refusing, told) == ([False], ["draining, 0 streams in flight"])
        writer.write(READY)  # nobody reads it yet
        rig.app.draining = rig.app.leaving = False
        after = Server(rig.app.asgi, CONFIG, [], kept)
        await after.start()
        assert await reader.readuntil(b"[]}")
        await after.close_listeners()
        await after.abort()


async def test_one_that_cannot_be_kept_is_closed(tmp_path: Path) -> None:
    async with departing(tmp_path) as (_, leaving, reader, _):
        await leaving.for_another(CONFIG, lambda client: False, lambda status: None)
        assert await reader.read() == b""


async def test_while_another_one_is_to_follow_calls_are_served_and_probes_say_no(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.app.leaving = True
        assert rig.app.reasons() == ["draining"]
        assert (await rig.post({})).status == 200
