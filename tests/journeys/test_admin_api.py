"""The admin API of a real server: a stream in flight is seen and stopped, the live feed ends with the server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.server import Server

CONFIG = """
[server]
drain_timeout_s = 5.0
[upstreams.demo]
base_url = "demo:"
demo_pace_ms = 50
[models.demo]
"""


class Script:
    """A script with an admin token."""

    def __init__(self, server: Server, client: aiohttp.ClientSession) -> None:
        self.server = server
        self.client = client
        self.headers = {"authorization": f"Bearer {server.cli('admin', 'token', 'create', 'test')['token']}"}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.server.root}/admin/api{path}"
        async with self.client.request(method, url, json=body, headers=self.headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    def stream(self) -> Any:
        """A stream of the first user's."""
        body = {"model": "demo", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
        headers = {"authorization": f"Bearer {self.server.key}"}
        return self.client.post(f"{self.server.url}/chat/completions", json=body, headers=headers)


async def test_a_stream_is_stopped_and_the_feed_ends_with_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path, CONFIG).start()
    try:
        async with aiohttp.ClientSession() as client:
            script = Script(server, client)
            url = f"{server.root}/admin/api/live"
            async with client.get(url, headers=script.headers) as feed:
                first = json.loads((await feed.content.readline()).removeprefix(b"data: "))
                assert (first["active"], feed.headers["content-type"]) == (0, "text/event-stream; charset=utf-8")
                await _seen_and_stopped(script)
                stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
                lines = [line async for line in feed.content if line.startswith(b"data: ")]  # whole to its end
                assert sum(json.loads(line[6:])["requests_s"] for line in lines) <= 1
            assert await stopping == 0
    finally:
        server.kill()
    assert "Traceback" not in server.log.read_text()


async def _seen_and_stopped(script: Script) -> None:
    async with script.stream() as response:
        assert (await response.content.readline()).startswith(b"data: ")
        [flight] = (await script.ask("GET", "/streams"))["data"]
        assert (flight["state"], flight["user"], flight["model"]) == ("streaming", "default", "demo")
        await script.ask("POST", f"/streams/{flight['id']}/stop", {})
        text = await response.text()
    last = json.loads(text.strip().rpartition("data: ")[2])
    assert (response.status, last["error"]["code"], "[DONE]" in text) == (200, "stopped_by_admin", False)
    [row] = (await script.ask("GET", "/requests"))["data"]
    assert (row["id"], row["end"], row["state"]) == (flight["id"], "stopped_by_admin", "settled")
    found = await script.ask("GET", f"/requests/{row['id']}")
    assert [phase["name"] for phase in found["phases"]] == ["admit", "upstream", "first token", "stream", "settle"]
