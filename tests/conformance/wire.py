"""Requests without any SDK, and a stream's events by the strict reading of docs/clients.md 2."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.support.server import Server

Reply = tuple[int, dict[str, str], str]


def call(model: str = "test", stream: bool = True, **more: Any) -> dict[str, Any]:
    """The body of a request."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Say hello."}], **more}


async def request(
    server: Server,
    method: str,
    path: str,
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
    body: Any = None,
    data: bytes | None = None,
) -> Reply:
    """Status, headers in small letters, text. ``key``: the server's first one; "" for none. ``body``: sent as JSON."""
    sent = dict(headers or {})
    if key != "":
        sent.setdefault("Authorization", f"Bearer {key or server.key}")
    if body is not None:
        data = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(method, server.root + path, headers=sent, data=data) as response,
    ):
        return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.text()


async def post(server: Server, body: dict[str, Any], *, key: str | None = None, path: str = "/v1") -> Reply:
    """``POST …/chat/completions``."""
    return await request(server, "POST", path + "/chat/completions", key=key, body=body)


def events(text: str) -> list[Any]:
    """The payloads of a stream's events, ``[DONE]`` as text. Every event must be one ``data:`` line, framed by LF."""
    assert "\r" not in text
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


def content(chunks: list[Any], index: int = 0) -> str:
    """The text that the chunks say for one choice."""
    deltas = [
        choice["delta"]
        for chunk in chunks
        if chunk != "[DONE]"
        for choice in chunk.get("choices", [])
        if choice["index"] == index
    ]
    return "".join(delta.get("content") or "" for delta in deltas)


def refusals(server: Server, code: str) -> int:
    """How many requests the server has refused with this code so far (its log)."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return sum(line.get("event") == "refused" and line.get("code") == code for line in lines)
