"""Gyld's document, sentence by sentence, against configs/gyld.toml."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from streamrouter.config.load import load
from tests.conformance.background import until
from tests.conformance.shipped import CONFIGS, Api, echo, run, serving
from tests.support.upstream import Seen, completion

HOST = "https://gyld.dev"
USER = {"role": "user", "content": "Hi"}

CURL = """\
curl https://gyld.dev/api/v1/chat/completions \\
-H "Authorization: Bearer $FLYWHEEL_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{
"model": "fitness",
"messages": [
{ "role": "system", "content": "You are a gym front desk." },
{ "role": "user", "content": "Beginner full-body workout?" }
],
"max_tokens": 512,
"temperature": 0.7
}'"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("gyld", tmp_path_factory.mktemp("gyld"), "/api/v1", "fitness") as served:
        yield served


def test_the_curl_example(api: Api) -> None:
    # "Example"
    answer = json.loads(run(api.server, ["sh", "-c"], CURL, HOST, FLYWHEEL_API_KEY=api.server.key))
    # "A standard OpenAI chat.completion object." "The assistant's reply is at choices[0].message.content"
    assert (answer["object"], answer["model"]) == ("chat.completion", "fitness")
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    sent = api.upstream.seen[-1].body
    assert (sent["max_tokens"], sent["temperature"]) == (512, 0.7)


async def test_keys(api: Api) -> None:
    # "Authenticate with a fw_live_ bearer key"
    assert api.server.key.startswith("fw_live_")
    assert await api.refused("") == (401, "missing_api_key")
    assert (await api.ask("", headers={"x-api-key": api.server.key})).status == 401


@pytest.mark.parametrize("name", ["fitness", "flywheel-fitness", "flywheel-fitness:latest", "fitness:7b"])
async def test_model_names(api: Api, name: str) -> None:
    # "the bare slug (fitness) or the served id (flywheel-fitness, an optional :tag is ignored)"
    answer = await api.ask(model=name)
    assert (answer.status, answer.json["model"]) == (200, "fitness")
    assert api.upstream.seen[-1].body["model"] == "flywheel-fitness"


async def test_an_unknown_model(api: Api) -> None:
    # "Browse every slug in the catalog." "An unknown model returns 404."
    assert [model["id"] for model in (await api.get("/models")).json["data"]] == ["fitness"]
    for name in ("swimming", "flywheel-", "flywheel-flywheel-fitness", "Fitness", ":tag"):
        assert await api.refused(model=name) == (404, "model_not_found")
    assert await api.refused(model=...) == (400, "missing_required_parameter")


async def test_messages(api: Api) -> None:
    # 'as OpenAI message objects: { "role", "content" } where role is system, user, or assistant'
    turns = [{"role": "system", "content": "Be brief."}, USER, {"role": "assistant", "content": "Yes?"}, USER]
    # "Send the full history each call"
    assert (await api.sent(messages=turns))["messages"] == turns
    for role in ("developer", "tool", "function", "robot"):
        assert await api.refused(messages=[{"role": role, "content": "x"}]) == (400, "invalid_value")


async def test_max_tokens(api: Api) -> None:
    # "Defaults to 512 and is clamped to a server ceiling of 1024."
    assert (await api.sent())["max_tokens"] == 512
    assert (await api.sent(max_tokens=100))["max_tokens"] == 100
    assert (await api.sent(max_tokens=5000))["max_tokens"] == 1024
    assert (await api.sent(max_completion_tokens=5000))["max_tokens"] == 1024


async def test_temperature(api: Api) -> None:
    # "Omit for the model's tuned default."
    tuned = load(str(CONFIGS / "gyld.toml"), {}, {}).config.models["fitness"].defaults["temperature"]
    assert (await api.sent())["temperature"] == tuned
    assert (await api.sent(temperature=None))["temperature"] == tuned
    assert (await api.sent(temperature=0))["temperature"] == 0


async def test_stream_is_accepted(api: Api) -> None:
    # "Accepted for OpenAI-SDK compatibility. The hosted API currently returns a single complete response"
    api.upstream.seen.clear()
    answer = await api.ask(stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["choices"][0]["message"]["content"] == "Hello there."
    sent = api.upstream.seen[-1].body
    assert sent["stream"] is False
    assert "stream_options" not in sent


async def test_unsupported_fields_are_ignored(api: Api) -> None:
    # "Unsupported OpenAI fields (e.g. tools, logprobs, n) are ignored rather than rejected"
    sent = await api.sent(
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="required",
        logprobs=True,
        n=9,
        best_of=20,
        seed="even with a wrong type",
        response_format={"type": "json_object"},
        invented=1,
    )
    assert set(sent) == {"model", "messages", "max_tokens", "temperature", "stream"}
    assert (await api.ask(n=9)).json["choices"] == completion("Hello there.")["choices"]


async def test_openai_payloads_keep_working(api: Api) -> None:
    # "so existing OpenAI payloads keep working"
    client = openai.AsyncOpenAI(api_key=api.server.key, base_url=api.server.root + "/api/v1", max_retries=0)
    async with client:
        answer = await client.chat.completions.create(
            model="flywheel-fitness", messages=[{"role": "user", "content": "Hi"}], n=2, logprobs=True, user="u"
        )
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    ("told", "finish"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("content_filter", "stop"), (None, "stop")],
)
async def test_finish_reason(api: Api, told: str | None, finish: str) -> None:
    # "choices[].finish_reason": "stop (natural end) or length (hit max_tokens)"
    async def ends(seen: Seen) -> None:
        answer = completion("Hello there.")
        answer["choices"][0]["finish_reason"] = told
        await seen.json(answer)

    api.upstream.queue.append(ends)
    assert (await api.ask()).json["choices"][0]["finish_reason"] == finish


async def test_usage(api: Api) -> None:
    # "usage": "prompt_tokens, completion_tokens, and total_tokens"
    async def silent(seen: Seen) -> None:
        answer = completion("Hello there.")
        del answer["usage"]
        await seen.json(answer)

    before = api.server.usage()
    for script in (echo, silent):
        api.upstream.queue.append(script)
        usage = (await api.ask()).json["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    # "what the request counts against your plan"
    after = api.server.usage()
    assert after["output"]["used"] - before["output"]["used"] >= 3 + usage["completion_tokens"]


async def test_content_limits(api: Api) -> None:
    # "Up to 200 messages per request." "Exceeding a content cap returns 400"
    assert (await api.ask(messages=[USER] * 200)).status == 200
    assert await api.refused(messages=[USER] * 201) == (400, "invalid_value")
    # "24,000 characters per message"
    assert (await api.ask(messages=[{"role": "user", "content": "é" * 24_000}])).status == 200
    assert await api.refused(messages=[{"role": "user", "content": "é" * 24_001}]) == (400, "invalid_value")
    parts = [{"type": "text", "text": "a" * 12_000}, {"type": "text", "text": "a" * 12_001}]
    assert await api.refused(messages=[{"role": "user", "content": parts}]) == (400, "invalid_value")
    # "60,000 characters across all messages"
    assert (await api.ask(messages=[{"role": "user", "content": "a b " * 5_000}] * 3)).status == 200
    over = [{"role": "user", "content": "a b " * 5_000}] * 3 + [{"role": "user", "content": "x"}]
    assert await api.refused(messages=over) == (400, "invalid_value")


async def test_four_requests_at_once(api: Api) -> None:
    # "4 concurrent requests per key"; "too many in-flight requests return 429"
    release, all_here = threading.Event(), threading.Event()
    here: list[Seen] = []

    async def held(seen: Seen) -> None:
        here.append(seen)
        if len(here) == 4:
            all_here.set()
        await until(release)
        await seen.json(completion("Hello there."))

    key = api.key_of("busy")
    api.upstream.queue.extend([held] * 4)
    four = [asyncio.create_task(api.ask(key)) for _ in range(4)]
    assert await until(all_here)
    fifth = await api.ask(key)
    assert (fifth.status, fifth.error["code"]) == (429, "concurrent_requests_exceeded")
    release.set()
    assert [(await each).status for each in four] == [200] * 4
    assert (await api.ask(key)).status == 200


async def test_an_attempt_is_bounded(tmp_path_factory: pytest.TempPathFactory) -> None:
    # "An upstream attempt is bounded at 60 seconds."
    surface: Any = load(str(CONFIGS / "gyld.toml"), {}, {}).config.surface[0]
    assert surface.attempt_timeout_s == 60

    async def silence(seen: Seen) -> None:
        await seen.gone()

    shorter = ("attempt_timeout_s = 60.0", "attempt_timeout_s = 0.3")
    with serving("gyld", tmp_path_factory.mktemp("slow"), "/api/v1", "fitness", shorter) as slow:
        slow.upstream.script = silence
        began = time.monotonic()
        answer = await slow.ask()
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        assert time.monotonic() - began < 3
