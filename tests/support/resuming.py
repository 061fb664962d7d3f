"""A client that comes back to its stream, and upstreams to come back for."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.support.rig import Reply, Rig, call, until
from tests.support.upstream import DONE, Seen, delta, event, usage

RESUME = {"x-streamrouter-resume": "1"}
TEXTS = ["Žluť", "ou", "čký", " 😀", " ďá", "bel"]
EVENTS = [
    delta(None, role="assistant"),
    *(delta(text) for text in TEXTS),
    delta(None, finish="stop"),
    event({"choices": [], "usage": usage(10, 6)}),
    DONE,
]


async def paced(seen: Seen) -> None:
    """All events, one by one."""
    await seen.head_sse()
    for each in EVENTS:
        await seen.chunk(each)
        await asyncio.sleep(0.01)
    await seen.end()


class Gated:
    """``first`` at once, ``rest`` when it may ``go``; ``closed`` when it was hung up on before."""

    def __init__(self, first: bytes = EVENTS[0] + EVENTS[1], rest: bytes = b"".join(EVENTS[2:])) -> None:
        self.go = asyncio.Event()
        self.closed = asyncio.Event()
        self._first = first
        self._rest = rest

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(self._first)
        waits = {asyncio.create_task(seen.gone(20)), asyncio.create_task(self.go.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        if not self.go.is_set():
            self.closed.set()
            return
        await seen.chunk(self._rest)
        await seen.end()


class Stream:
    """One stream and the connection that it is read on. ``got``: the whole events so far."""

    def __init__(self, rigged: Rig, key: str = "") -> None:
        self.got = b""
        self.id = ""
        self._rig = rigged
        self._key = key
        self._response: aiohttp.ClientResponse | None = None
        self._part = b""

    @classmethod
    async def begun(cls, rigged: Rig, key: str = "", **more: Any) -> Stream:
        stream = cls(rigged, key)
        body = call(stream_options={"include_usage": True}, **more)
        await stream._open(
            rigged.client.post(
                rigged.server.url + "/chat/completions", json=body, headers={**rigged.headers(key), **RESUME}
            )
        )
        return stream

    async def _open(self, opening: Any) -> None:
        self._response = response = await opening
        assert response.status == 200, await response.text()
        self._part = b""
        self.id = response.headers["x-streamrouter-resume"]
        assert self.id == response.headers["x-request-id"]

    @property
    def count(self) -> int:
        return self.got.count(b"\n\n")

    async def read(self, events: int = 10**9) -> bool:
        """Read until there are so many (or the body is at its end); more than those are not looked at."""
        assert self._response is not None
        while self.count < events:
            if b"\n\n" in self._part:
                whole, _, self._part = self._part.partition(b"\n\n")
                self.got += whole + b"\n\n"
            elif piece := await self._response.content.readany():
                self._part += piece
            else:
                return False
        return True

    def cut(self) -> None:
        """Leave, without a word."""
        assert self._response is not None
        self._response.close()

    async def again(self) -> None:
        """Come back for the rest."""
        await self._open(self._rig.client.get(self.url(self.count), headers=self._rig.headers(self._key)))

    def url(self, after: int) -> str:
        return f"{self._rig.server.url}/streams/{self.id}?after={after}"

    async def get(self, after: int, key: str = "") -> Reply:
        """The answer to somebody who comes back."""
        async with self._rig.client.get(self.url(after), headers=self._rig.headers(key or self._key)) as response:
            return Reply(response.status, dict(response.headers), await response.text())


async def whole(rigged: Rig, like: Stream) -> bytes:
    """What the stream would be without the header, on one connection."""
    plain = await rigged.post(call(stream_options={"include_usage": True}))
    assert plain.status == 200
    return plain.text.replace(plain.headers["x-request-id"], like.id).encode()


async def finished(rigged: Rig, stream: Stream) -> dict[str, Any]:
    """Its one hold, once it is settled."""
    await until(lambda: rigged.hold(stream.id)["state"] != "open", "settled")
    return rigged.hold(stream.id)
