"""WLRouter's document, sentence by sentence, against configs/wlrouter.toml (its examples: test_seed_wlrouter.py)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal

import openai
import pytest

from streamrouter.config.load import load
from tests.conformance.shipped import CONFIGS, Api, echo, serving
from tests.conformance.wire import content, events, request
from tests.support.upstream import Seen, completion, streamed, usage

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("wlrouter", tmp_path_factory.mktemp("wlrouter"), "/v1", "gpt-4.1-mini") as served:
        served.server.cli("topup", "default", "20")
        yield served


async def test_quickstart(api: Api) -> None:
    # "Create an API key in the console" (export WLROUTER_API_KEY="wlrouter_...")
    assert api.server.key.startswith("wlrouter_")
    # "Send Authorization: Bearer <wlrouter_api_key> with every request."
    assert await api.refused("") == (401, "missing_api_key")
    assert (await api.ask("", headers={"x-api-key": api.server.key})).status == 401
    assert (await api.get("/models", key="")).status == 401


async def test_text_and_multimodal_models(api: Api) -> None:
    # "The primary endpoint for text and multimodal chat models is /v1/chat/completions."
    for parts in ("Hi", [{"type": "text", "text": "What is this?"}, PICTURE]):
        messages = [{"role": "user", "content": parts}]
        assert (await api.sent(messages=messages))["messages"] == messages


async def test_models(api: Api) -> None:
    # "Use /v1/models to list available public model IDs."
    listed = (await api.get("/models")).json
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert ids == list(load(str(CONFIGS / "wlrouter.toml"), {}, {}).config.models)
    assert "gpt-4.1-mini" in ids
    assert await api.refused(model="gpt-1") == (404, "model_not_found")


async def test_compatibility(api: Api) -> None:
    # "Use the OpenAI SDK by changing the base URL and model ID."
    client = openai.AsyncOpenAI(api_key=api.server.key, base_url=api.server.root + "/v1", max_retries=0)
    async with client:
        answer = await client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hi"}])
        assert answer.choices[0].message.content == "Hello there."
        assert answer._request_id == answer.model_dump()["request_id"]


async def test_request_ids(api: Api) -> None:
    # "Keep the request_id from errors or responses when contacting support."
    whole = await api.ask()
    assert whole.json["request_id"] == whole.headers["x-request-id"]
    for bad in ({"model": "gpt-1"}, {"key": ""}, {"temperature": 9}, {"key": api.key_of("penniless")}):
        refused = await api.ask(**bad)
        assert refused.error["request_id"] == refused.headers["x-request-id"]
    api.upstream.queue.append(streamed(["Hel", "lo"]))
    stream = await api.ask(stream=True)
    assert events(stream.text)[0]["request_id"] == stream.headers["x-request-id"]
    assert (await api.get("/models")).headers["x-request-id"].startswith("req_")
    lost = await request(api.server, "GET", "/v1/nothing")
    assert json.loads(lost[2])["error"]["request_id"] == lost[1]["x-request-id"]


async def test_streaming(api: Api) -> None:
    # "Set stream: true for token-by-token responses on supported chat models." "receive incremental deltas"
    api.upstream.queue.append(streamed(["One", " two", " three"]))
    chunks = events((await api.ask(stream=True)).text)
    assert content(chunks) == "One two three"
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:4]] == ["One", " two", " three"]
    # "on supported chat models"
    assert await api.refused(model="gpt-5-pro", stream=True) == (400, "invalid_value")
    assert (await api.ask(model="gpt-5-pro")).status == 200
    # "Keep stream: false for a single JSON response."
    assert (await api.ask(stream=False)).json["object"] == "chat.completion"


def test_the_least_top_up_and_the_fee(api: Api) -> None:
    # "WLRouter uses USD prepaid balance. The minimum top-up is 10 USD and the service fee is 5%."
    api.key_of("payer")
    refused = subprocess.run(
        api.server.command("topup", "payer", "9.99"), env=api.server.env, capture_output=True, text=True, timeout=30
    )
    assert refused.returncode != 0
    paid = api.server.cli("topup", "payer", "10")
    assert (paid["paid_usd"], paid["fee_usd"]) == ("10.50", "0.50")
    assert api.server.usage("payer")["balance_usd"] == "10.00"


async def test_what_is_deducted(api: Api) -> None:
    # "Usage is deducted by model, input tokens, output tokens, and cache-read tokens where applicable."
    async def cached(seen: Seen) -> None:
        await seen.json({**completion("Hello there."), "usage": usage(10, 5, cached=8)})

    key = api.key_of("spender")
    api.server.cli("topup", "spender", "10")
    left = Decimal(10)
    long = [{"role": "user", "content": "word " * 20}]  # more than the 10 tokens that are reported
    prices = {"gpt-4.1-mini": ("0.4", "1.6", "0.1"), "gpt-4.1": ("2", "8", "0.5")}
    for model, (input_usd, output_usd, cache_usd) in prices.items():
        for script, hit in ((cached, 8), (None, 0)):
            api.upstream.queue.append(script or _plain)
            assert (await api.ask(key, model=model, messages=long)).status == 200
            per_million = (10 - hit) * Decimal(input_usd) + hit * Decimal(cache_usd) + 5 * Decimal(output_usd)
            left -= per_million / 1_000_000
            assert Decimal(api.server.usage("spender")["balance_usd"]) == left


async def _plain(seen: Seen) -> None:
    await seen.json({**completion("Hello there."), "usage": usage(10, 5)})


async def test_a_balance_that_is_too_low(api: Api) -> None:
    # "If the balance is too low, WLRouter returns an OpenAI-compatible error with code insufficient_balance."
    api.upstream.script = echo
    key = api.key_of("poor")
    api.upstream.seen.clear()
    answer = await api.ask(key)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (
        402,
        "insufficient_balance",
        "insufficient_quota",
    )
    assert {"message", "type", "param", "code", "request_id"} == set(answer.error)
    assert api.upstream.seen == []
