"""The browser example of docs/resume.md, as it stands there, in Node: through a network that cuts every connection."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, Seen, delta

PAGE = Path(__file__).parent.parent.parent / "docs" / "resume.md"
(EXAMPLE,) = re.findall(r"```js\n(export .*?)```", PAGE.read_text(), re.DOTALL)
PROGRAM = """
let fault = null, text = "", chunks = 0;
try {
  for await (const chunk of chat(process.env.BASE, process.env.KEY, JSON.parse(process.env.REQUEST), 4)) {
    chunks += 1;
    text += chunk.choices?.[0]?.delta.content ?? "";
    if (chunk.error) fault = chunk.error.code;
  }
} catch (error) {
  fault = error.status ?? String(error);
}
console.log(JSON.stringify({ text, chunks, fault }));
"""
WORDS = [f" {number} žluťoučký 😀" for number in range(30)]


class Network:
    """A proxy in front of the server: after ``cuts[i]`` bytes of bodies connection i is reset; the last is for ever."""

    def __init__(self, port: int, cuts: list[int]) -> None:
        self.port = 0
        self.connections = 0
        self._to = port
        self._cuts = cuts

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self._cuts[min(self.connections, len(self._cuts) - 1)]
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
        asking = asyncio.create_task(_copy(reader, up_writer))
        try:
            head = await up_reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while cut > 0 and (piece := await up_reader.read(min(cut, 65536))):
                writer.write(piece)
                await writer.drain()
                cut -= len(piece)
            if cut == 0:
                await asyncio.sleep(0.02)  # what was let through arrives before the reset
                writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            asking.cancel()
            up_writer.transport.abort()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)


@asynccontextmanager
async def network(server: Server, cuts: list[int]) -> AsyncIterator[Network]:
    made = Network(server.port, cuts)
    listening = await asyncio.start_server(made.connected, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()


async def run(server: Server, made: Network, **request: Any) -> Any:
    """What the example came to."""
    env = {
        **os.environ,
        "KEY": server.key,
        "BASE": f"http://127.0.0.1:{made.port}/v1",
        "REQUEST": json.dumps({"model": "test", "messages": [{"role": "user", "content": "Go."}], **request}),
    }
    program = await asyncio.create_subprocess_exec(
        "node",
        *("--input-type=module", "-e", EXAMPLE + PROGRAM),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, fault = await program.communicate()
    assert program.returncode == 0, fault.decode()
    return json.loads(out)


async def words(seen: Seen) -> None:
    await seen.head_sse()
    for word in WORDS:
        await seen.chunk(delta(word))
        await asyncio.sleep(0.002)
    await seen.chunk(delta(None, finish="stop") + DONE)
    await seen.end()


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.splitlines()) <= 30


async def test_it_survives_every_cut(upstream: ScriptedUpstream, serve: Callable[..., Server]) -> None:
    upstream.script = words
    server = serve(upstream.url)
    cuts = [333 + 97 * number % 500 for number in range(40)]
    async with network(server, [*cuts, 10**9]) as made:
        told = await run(server, made, max_tokens=2000)
    assert told == {"text": "".join(WORDS), "chunks": len(WORDS) + 1, "fault": None}
    assert made.connections > 10
    assert len(upstream.seen) == 1
    assert [line["end"] for line in server.requests()] == ["finished"]


@pytest.mark.parametrize(
    ("cuts", "request_more", "fault"),
    [
        ([10**9], {"model": "nope"}, 404),  # a refusal is one
        ([100], {}, "TypeError: terminated"),  # no event ever comes through: it gives up
    ],
)
async def test_what_it_gives_up_on(
    upstream: ScriptedUpstream, serve: Callable[..., Server], cuts: list[int], request_more: dict[str, Any], fault: Any
) -> None:
    upstream.script = words
    server = serve(upstream.url)
    async with network(server, cuts) as made:
        assert (await run(server, made, **request_more))["fault"] == fault


async def test_an_error_event_is_its_end(upstream: ScriptedUpstream, serve: Callable[..., Server]) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" one"))
        await asyncio.sleep(0.05)
        seen.reset()

    upstream.script = script
    server = serve(upstream.url)
    async with network(server, [10**9]) as made:
        told = await run(server, made)
        assert (told, made.connections) == ({"text": " one", "chunks": 2, "fault": "upstream_disconnected"}, 1)
