"""The cancel call: made once, with the right id, harmless whatever comes of it."""

from __future__ import annotations

import asyncio

from streamrouter.config.schema import UpstreamConfig
from streamrouter.upstream.cancel import Canceller
from tests.support.upstream import ScriptedUpstream, Seen


async def fine(seen: Seen) -> None:
    await seen.json({})


def config(url: str, path: str | None = "/predictions/{id}/cancel", name: str = "X-Prediction") -> UpstreamConfig:
    return UpstreamConfig(base_url=url, api_key="k", headers={"x-title": "t"}, cancel_path=path, cancel_id=name)


async def test_the_call(upstream: ScriptedUpstream) -> None:
    upstream.script = fine
    canceller = Canceller(config(upstream.url))
    canceller.begin({"x-request-id": "req_1"}, {"X-Prediction": "../a b"})
    await canceller.close()
    [seen] = upstream.seen
    assert seen.head.startswith("POST /v1/predictions/..%2Fa%20b/cancel ")
    assert (seen.headers["authorization"], seen.headers["x-title"]) == ("Bearer k", "t")


async def test_our_own_id_where_the_header_is_ours(upstream: ScriptedUpstream) -> None:
    upstream.script = fine
    canceller = Canceller(config(upstream.url, name="x-request-id"))
    canceller.begin({"x-request-id": "req_1"}, {})
    await canceller.close()
    assert upstream.seen[0].head.startswith("POST /v1/predictions/req_1/cancel ")


async def test_nothing_is_called_without_a_path_or_an_id(upstream: ScriptedUpstream) -> None:
    for canceller, answered in (
        (Canceller(config(upstream.url, None)), {"X-Prediction": "1"}),
        (Canceller(config(upstream.url)), {}),
    ):
        canceller.begin({"x-request-id": "req_1"}, answered)
        await canceller.close()
    assert upstream.connections == 0


async def test_a_call_that_fails_is_nobodys_fault(upstream: ScriptedUpstream) -> None:
    async def cut(seen: Seen) -> None:
        seen.reset()

    upstream.script = cut
    for url in (upstream.url, upstream.url.replace("127.0.0.1", "127.0.0.2"), "demo:"):
        canceller = Canceller(config(url))
        canceller.begin({}, {"X-Prediction": "1"})
        await canceller.close()


async def test_not_more_than_some_at_once(upstream: ScriptedUpstream) -> None:
    async def slow(seen: Seen) -> None:
        await asyncio.sleep(0.05)
        await seen.json({})

    upstream.script = slow
    canceller = Canceller(config(upstream.url))
    for number in range(200):
        canceller.begin({}, {"X-Prediction": str(number)})
    await canceller.close()
    assert len(upstream.seen) == 64
