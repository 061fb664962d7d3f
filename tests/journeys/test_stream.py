"""A stream through a real server process: what the client gets, what the upstream got, what the ledger says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.support.rig import PROVIDER_KEY
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream, Seen, completion, delta, streamed, usage

Serve = Callable[..., Server]


def call(stream: bool = True, **more: Any) -> dict[str, Any]:
    return {"model": "test", "stream": stream, "messages": [{"role": "user", "content": "Say hello."}], **more}


async def post(server: Server, body: dict[str, Any], key: str = "") -> tuple[int, dict[str, str], str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            server.url + "/chat/completions", json=body, headers={"Authorization": f"Bearer {key or server.key}"}
        ) as response,
    ):
        return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.text()


def events(text: str) -> list[Any]:
    """The payloads of a stream's events; every line must be a data line."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


async def test_a_stream_is_relayed_counted_and_settled(upstream: ScriptedUpstream, serve: Serve) -> None:
    upstream.script = streamed(["Hello", " there", "!"], prompt=10, output=3)
    server = serve(upstream.url)
    status, headers, text = await post(server, call(max_tokens=50))
    got = events(text)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert got[-1] == "[DONE]"
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in got[:-1]) == "Hello there!"
    assert {e["model"] for e in got[:-1]} == {"test"}
    assert got[0]["request_id"] == headers["x-request-id"]
    assert not any("usage" in e for e in got[:-1])
    sent = upstream.seen[0]
    assert sent.body["model"] == "up-model"
    assert sent.body["max_tokens"] == 50
    assert sent.body["stream_options"] == {"include_usage": True}
    assert sent.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert sent.headers["x-request-id"] == headers["x-request-id"]
    used = server.usage()
    assert (used["input"]["used"], used["output"]["used"], used["in_flight"]) == (10, 3, 0)


async def test_usage_is_sent_once_if_asked_for(upstream: ScriptedUpstream, serve: Serve) -> None:
    upstream.script = streamed(["Hello"], prompt=11, output=1)
    server = serve(upstream.url)
    _, _, text = await post(server, call(stream_options={"include_usage": True}))
    found = [e for e in events(text)[:-1] if e.get("usage")]
    assert [(e["choices"], e["usage"]["prompt_tokens"], e["model"]) for e in found] == [([], 11, "test")]


async def test_a_whole_answer_is_relayed_and_settled_before_it_is_sent(
    upstream: ScriptedUpstream, serve: Serve
) -> None:
    async def script(seen: Seen) -> None:
        await seen.json(completion("Hi.", 9, 2, request_id="theirs", usage=usage(9, 2, cached=4)))

    upstream.script = script
    server = serve(upstream.url, billing="prepaid")
    server.cli("topup", "default", "1")
    status, headers, text = await post(server, call(stream=False))
    body = json.loads(text)
    assert status == 200
    assert (body["model"], body["request_id"]) == ("test", headers["x-request-id"])
    assert body["choices"][0]["message"]["content"] == "Hi."
    assert server.usage()["spent_usd"] == "0.0000056"  # 5 x 0.40 + 4 x 0.10 + 2 x 1.60 per million


async def test_a_client_that_leaves_closes_the_upstream_and_is_charged_what_was_read(
    upstream: ScriptedUpstream, serve: Serve
) -> None:
    left = asyncio.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        for _ in range(20):
            await seen.chunk(delta(" token"))
        if await seen.gone():
            left.set()

    upstream.script = script
    server = serve(upstream.url)
    async with aiohttp.ClientSession() as session:
        response = await session.post(
            server.url + "/chat/completions", json=call(), headers={"Authorization": f"Bearer {server.key}"}
        )
        got = b""
        while got.count(b"data:") < 20:
            got += await response.content.readany()
        response.close()
        async with asyncio.timeout(1):
            await left.wait()
    used = server.quiet()
    assert (used["output"]["used"], used["output"]["reserved"], used["in_flight"]) == (20, 0, 0)
    assert server.requests()[0]["end"] == "client_left"
    assert server.requests()[0]["usage_source"] == "abort"


async def test_an_upstream_that_ends_half_way_is_an_error_event(upstream: ScriptedUpstream, serve: Serve) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" token"))
        await asyncio.sleep(0.05)
        seen.reset()

    upstream.script = script
    server = serve(upstream.url)
    _, _, text = await post(server, call())
    got = events(text)
    assert got[-1]["error"]["code"] == "upstream_disconnected"
    assert "choices" not in got[-1]
    used = server.usage()
    assert (used["output"]["used"], used["in_flight"]) == (1, 0)
