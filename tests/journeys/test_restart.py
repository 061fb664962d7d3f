"""A restart refuses nobody: new connections wait in the kept socket, live ones go on, streams finish."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.manager import Manager
from tests.support.rig import CONFIG, PROVIDER_KEY, Reply, Rig, call, holds, until
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, Seen, delta

RESTARTS = 5
PAUSE_S = 0.01  # of a client between two requests: with none at all two cores do nothing else
TEXT = " one two three"
WHOLE = call(stream=False, max_tokens=10)


class Words:
    """Streams three words; where the prompt says "hold" the last one waits for ``go``."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" one"))
        await seen.chunk(delta(" two"))
        if "hold" in json.dumps(seen.body["messages"]):
            await self.go.wait()
        await seen.chunk(delta(" three", finish="stop") + DONE)
        await seen.end()


class Load:
    """Clients that ask one request after the other until they are told to stop; every answer must be whole."""

    def __init__(self, rigged: Rig) -> None:
        self._rig = rigged
        self._over = False
        self.answers: dict[str, int] = {"new": 0, "kept": 0, "raw": 0}
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._tasks = [asyncio.create_task(work()) for work in (self._new, self._kept, self._kept, self._raw)]

    async def _new(self) -> None:
        """Each request on a connection of its own."""
        fresh = Rig(self._rig.server, self._rig.upstream, self._session)
        while not self._over:
            await self._count("new", await fresh.post(call(max_tokens=10)))

    async def _kept(self) -> None:
        """On the session's connections, which are kept."""
        while not self._over:
            await self._count("kept", await self._rig.post(call(max_tokens=10)))

    async def _count(self, kind: str, reply: Reply) -> None:
        assert (reply.status, reply.content, reply.events[-1]) == (200, TEXT, "[DONE]")
        self.answers[kind] += 1
        await asyncio.sleep(PAUSE_S)

    async def _raw(self) -> None:
        """On one connection, which may never be closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._rig.server.port)
        request = self._rig.http(json.dumps(call(max_tokens=10)).encode())
        while not self._over:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"connection: close" not in answer.lower()
            self.answers["raw"] += 1
            await asyncio.sleep(PAUSE_S)
        writer.close()

    async def stop(self) -> None:
        """Raises what any of them has met."""
        self._over = True
        await asyncio.gather(*self._tasks)
        await self._session.close()


@asynccontextmanager
async def managed(directory: Path, *, told: bool = True) -> AsyncIterator[tuple[Rig, Manager]]:
    """A server under a service manager, which may want to be ``told`` what it does, and keeps connections then."""
    async with ScriptedUpstream(Words()) as scripted:
        more = {"ledger": "", "upstream": "", "billing": "tokens", "more": ""}
        text = CONFIG.format(server="drain_timeout_s = 20", url=scripted.url, key=PROVIDER_KEY, **more)
        manager = Manager(Server(directory, text), f"@{directory}/notify", told=told)
        try:
            await manager.start()
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
                yield Rig(manager.server, scripted, client), manager
        finally:
            manager.close()


def events(rigged: Rig, name: str) -> list[dict[str, Any]]:
    """The log's lines of one event."""
    return [line for line in map(json.loads, rigged.log().splitlines()) if line["event"] == name]


def hold_on() -> dict[str, Any]:
    return call(max_tokens=10, messages=[{"role": "user", "content": "hold"}])


def in_order(rigged: Rig) -> None:
    """The books are closed, and nothing happened that a person would have to look at."""
    assert {hold["state"] for hold in holds(rigged.server.ledger)} == {"settled"}
    assert {line["level"] for line in map(json.loads, rigged.log().splitlines())} == {"info"}


async def one_restart(rigged: Rig, words: Words, number: int, begin: Any) -> None:
    """A stream that is held until the process leaves; a connection that is made while nobody accepts."""
    words.go = asyncio.Event()
    held = asyncio.create_task(rigged.post(hold_on()))
    await until(lambda: any(b"hold" in seen.raw and seen.sent_chunks == 2 for seen in rigged.seen[-20:]), "held", 20)
    begin()
    await until(lambda: len(events(rigged, "draining")) == number, "draining", 20)
    waiting = asyncio.create_task(rigged.post(call(max_tokens=10)))
    rigged.seen.clear()
    words.go.set()
    replies = await asyncio.gather(held, waiting)
    assert [reply.content for reply in replies] == [TEXT, TEXT]
    await until(lambda: len(events(rigged, "started")) == number + 1, "started", 20)


# -- F43b: a restart where the socket is kept --------------------------------------------------------------------------


async def test_restarts_by_a_service_manager_refuse_nobody(tmp_path: Path) -> None:
    async with managed(tmp_path) as (rigged, manager):
        words = rigged.upstream.script
        assert isinstance(words, Words)
        load = Load(rigged)
        codes: list[int] = []

        async def restart() -> None:
            codes.append(await manager.stop())
            await manager.start()

        for number in range(1, RESTARTS + 1):
            task: list[asyncio.Task[None]] = []
            await one_restart(rigged, words, number, lambda: task.append(asyncio.create_task(restart())))  # noqa: B023
            await task[0]
        await load.stop()
        assert codes == [0] * RESTARTS
        assert min(load.answers.values()) > RESTARTS
        assert {line["sockets"] for line in events(rigged, "started")} == {"given"}
        assert len({line["pid"] for line in events(rigged, "started")}) == RESTARTS + 1
        assert manager.notified.lines.count("FDSTORE=1") > 0
        assert manager.notified.kept == []  # else its copies hold open what the server closes
        os.kill(manager.server.pid, signal.SIGHUP)
        await manager.notified.told("READY=1", RESTARTS + 2)
        await manager.stop()
        in_order(rigged)
        states = [line for line in manager.notified.lines if line in ("READY=1", "RELOADING=1", "STOPPING=1")]
        assert states == ["READY=1", "STOPPING=1"] * RESTARTS + ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


async def test_the_next_process_may_come_before_the_last_one_has_left(tmp_path: Path) -> None:
    async with managed(tmp_path, told=False) as (rigged, manager):
        words = rigged.upstream.script
        assert isinstance(words, Words)
        held = asyncio.create_task(rigged.post(hold_on()))
        await rigged.reached(1)
        before = rigged.server.process
        assert before is not None
        before.send_signal(signal.SIGTERM)
        manager.spawn()
        await until(lambda: bool(events(rigged, "ledger_awaited")), "it waits", 20)
        assert events(rigged, "ledger_awaited")[0]["pid"] == before.pid
        words.go.set()
        assert (await held).content == TEXT
        assert (await rigged.post(call(max_tokens=10))).content == TEXT
        assert await asyncio.to_thread(before.wait, 20) == 0
        in_order(rigged)


async def test_the_program_starts_anew_in_its_own_process(tmp_path: Path) -> None:
    async with ScriptedUpstream(Words()) as scripted:
        more = {"ledger": "", "upstream": "", "billing": "tokens", "more": ""}
        text = CONFIG.format(server="drain_timeout_s = 20", url=scripted.url, key=PROVIDER_KEY, **more)
        server = Server(tmp_path, text).start()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
                await started_anew(Rig(server, scripted, client), text)
        finally:
            server.kill()


async def started_anew(rigged: Rig, text: str) -> None:
    """Twice; then a configuration that it would not take; then a signal to stop in the middle of a restart."""
    server, words = rigged.server, rigged.upstream.script
    assert isinstance(words, Words) and server.config is not None
    load = Load(rigged)
    for number in (1, 2):
        await one_restart(rigged, words, number, lambda: os.kill(server.pid, signal.SIGUSR2))
    await load.stop()
    assert min(load.answers.values()) > 2
    assert [line["sockets"] for line in events(rigged, "started")] == ["bound", "kept", "kept"]
    assert {line["pid"] for line in events(rigged, "started")} == {server.pid}
    assert {line["level"] for line in map(json.loads, rigged.log().splitlines())} == {"info"}

    server.config.write_text(text.replace("drain_timeout_s", "drain_time_s"))
    os.kill(server.pid, signal.SIGUSR2)
    await until(lambda: bool(events(rigged, "restart_refused")), "refused", 20)
    assert "drain_time_s" in events(rigged, "restart_refused")[0]["fault"]
    assert (await rigged.post(call(max_tokens=10))).content == TEXT

    server.config.write_text(text)
    words.go = asyncio.Event()
    held = asyncio.create_task(rigged.post(hold_on()))
    await until(lambda: any(b"hold" in seen.raw and seen.sent_chunks == 2 for seen in rigged.seen[-20:]), "held", 20)
    os.kill(server.pid, signal.SIGUSR2)
    await until(lambda: len(events(rigged, "draining")) == 3, "draining", 20)
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    await until(lambda: not listens(server.port), "nobody listens any more", 20)
    words.go.set()
    assert (await held).content == TEXT
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert len(events(rigged, "started")) == 3
    assert {hold["state"] for hold in holds(server.ledger)} == {"settled"}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
