"""Wrees' document, sentence by sentence, against configs/wrees.toml."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrouter.config.load import load
from streamrouter.errors import RULES, Refusal
from streamrouter.wire.dialect import style_of
from streamrouter.wire.refusals import refusal_status
from tests.conformance.shipped import CONFIGS, Api, run, serving
from tests.conformance.wire import request
from tests.support.upstream import Seen, completion

HOST = "https://wrees.com"
MODELS = [
    *("gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.4-mini", "gemini-3-pro", "gemini-3-flash", "gemini-3-flash-thinking"),
    *("gemini-3-pro-plus", "gemini-3-flash-plus", "gemini-3-flash-thinking-plus", "gemini-3-pro-advanced"),
    *("gemini-3-flash-advanced", "gemini-3-flash-thinking-advanced", "claude-opus-4-7", "claude-sonnet-4-6"),
    "claude-haiku-4-5-20251001",
]

CURL = """\
curl https://wrees.com/v1/chat/completions -H "Authorization: Bearer wrees_your_api_key" \
-H "Content-Type: application/json" -d '{
"model": "gpt-5.4-mini",
"messages": [
{ "role": "user", "content": "Write a one-line product tagline." }
],
"max_completion_tokens": 80
}'"""

JAVASCRIPT = """\
const response = await fetch("https://wrees.com/v1/chat/completions", {
method: "POST",
headers: {
"Authorization": `Bearer ${process.env.WREES_API_KEY}`,
"Content-Type": "application/json"
},
body: JSON.stringify({
model: "gpt-5.4-mini",
messages: [
{ role: "system", content: "You are concise." },
{ role: "user", content: "Explain rafters in one sentence." }
],
max_completion_tokens: 120
})
})
const data = await response.json()
console.log(data.choices[0].message.content)"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("wrees", tmp_path_factory.mktemp("wrees"), "/v1", "gpt-5.4-mini") as served:
        yield served


@pytest.fixture(scope="module")
def openrouter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    preset = ("[upstreams.main]\n", '[upstreams.main]\npreset = "openrouter"\n')
    with serving("wrees", tmp_path_factory.mktemp("openrouter"), "/v1", "gpt-5.4-mini", preset) as served:
        yield served


def test_the_curl_example(api: Api) -> None:
    # "cURL Example"
    answer = json.loads(run(api.server, ["sh", "-c"], CURL.replace("wrees_your_api_key", api.server.key), HOST))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello there.", "refusal": None}


def test_the_javascript_example(api: Api) -> None:
    # "JavaScript Example"
    node = shutil.which("node")
    assert node is not None
    said = run(api.server, [node, "--input-type=module", "-e"], JAVASCRIPT, HOST, WREES_API_KEY=api.server.key)
    assert said == "Hello there.\n"
    assert api.upstream.seen[-1].body["max_tokens"] == 120


async def test_keys_are_made_shown_once_replaced_and_revoked(api: Api) -> None:
    # "generate or revoke your key"; "Keys are shown only once after generation."
    api.server.cli("user", "create", "keys")
    made = api.server.cli("key", "create", "keys", "--models", "gpt-5.4-mini")
    assert made["key"].startswith("wrees_")
    assert made["key"] not in json.dumps(api.server.cli("key", "list", "keys"))
    assert (await api.ask(made["key"])).status == 200
    # "If a key is exposed …, regenerate it immediately."
    new = api.server.cli("key", "rotate", made["id"])
    assert (await api.ask(made["key"])).status == 401
    assert (await api.ask(new["key"])).status == 200
    assert (await api.refused(new["key"], model="gpt-5.5"))[0] == 400  # with the same rights
    # "Revoked keys stop working for all integrations."
    api.server.cli("key", "revoke", new["id"])
    assert await api.refused(new["key"]) == (401, "invalid_api_key")
    reply = await api.ask("", headers={"x-api-key": new["key"]})
    assert reply.status == 401


async def test_either_header_carries_the_key(api: Api) -> None:
    # "Use either OpenAI-style bearer auth or the direct API key header."
    assert (await api.ask(api.server.key)).status == 200
    assert (await api.ask("", headers={"x-api-key": api.server.key})).status == 200
    assert (await api.ask("", headers={"api-key": api.server.key})).status == 401


async def test_a_model_must_be_allowed_and_enabled(api: Api) -> None:
    # "accepts the request's model field only when it matches an allowed Wrees model"
    listed = (await api.get("/models")).json["data"]
    assert [model["id"] for model in listed] == MODELS
    for model in MODELS:
        assert (await api.ask(model=model)).json["model"] == model
    assert await api.refused(model="gpt-4") == (400, "model_not_found")
    # "and that model is enabled for your API key by an admin"
    key = api.key_of("models", "--models", "gpt-5.4")
    assert (await api.ask(key, model="gpt-5.4")).status == 200
    assert await api.refused(key, model="gpt-5.5") == (400, "model_not_allowed")
    # (without OpenRouter upstream)
    assert await api.refused(model="some/model:free") == (400, "model_not_found")


async def test_free_models_where_the_upstream_is_openrouter(openrouter: Api) -> None:
    # "When the upstream is configured for OpenRouter, model IDs ending in :free are also accepted"
    assert (await openrouter.sent(model="some/model:free"))["model"] == "some/model:free"
    assert (await openrouter.ask(model="some/model:free")).json["model"] == "some/model:free"
    assert await openrouter.refused(model="some/model:paid") == (400, "model_not_found")
    # "and use the same local request and token limits"
    key = openrouter.key_of("free", "--output-per-request", "50", "--input-per-request", "100")
    assert (await openrouter.sent(key=key, model="some/model:free", max_tokens=999))["max_tokens"] == 50
    long = [{"role": "user", "content": "word " * 200}]
    assert (await openrouter.refused(key, model="some/model:free", messages=long))[0] == 413


async def test_four_limits_per_user(api: Api) -> None:
    # "Admins set each user's input tokens per request, …"; "Input tokens are counted before the upstream call."
    # "413 Input token limit exceeded for the user."
    key = api.key_of("input", "--input-per-request", "20")
    assert await api.refused(key, messages=[{"role": "user", "content": "word " * 40}]) == (
        413,
        "input_tokens_exceeded",
    )
    # "output tokens per request"; "Output tokens are capped before forwarding the request when possible."
    key = api.key_of("output", "--output-per-request", "33")
    for limit in ({"max_completion_tokens": 500}, {"max_tokens": 500}, {}):
        sent = await api.sent(key=key, **limit)
        assert sent["max_tokens"] == 33
        assert "max_completion_tokens" not in sent
    # "429 Daily input or output token limit exceeded."
    key = api.key_of("daily-input", "--daily-input", "5")
    assert await api.refused(key) == (429, "daily_input_tokens_exceeded")
    key = api.key_of("daily-output", "--daily-output", "5")
    assert await api.refused(key) == (429, "daily_output_tokens_exceeded")


async def test_there_is_no_streaming(api: Api) -> None:
    # "Streaming is not currently supported. Requests with stream: true return a 400 response."
    assert await api.refused(stream=True) == (400, "invalid_value")
    # "Must be false or omitted."
    assert (await api.sent(stream=False))["stream"] is False
    assert await api.refused(stream="no") == (400, "invalid_type")


async def test_the_request_body(api: Api) -> None:
    # "model … Required." "messages … Required. OpenAI-style chat messages."
    assert await api.refused(model=...) == (400, "missing_required_parameter")
    assert await api.refused(messages=...) == (400, "missing_required_parameter")
    # "max_completion_tokens … Capped by your output token limits." "max_tokens … legacy alias"
    assert (await api.sent(max_completion_tokens=7))["max_tokens"] == 7
    assert (await api.sent(max_tokens=7))["max_tokens"] == 7
    # the document names no other fields: they are OpenAI's, and forwarded
    assert (await api.sent(temperature=0.5, seed=1))["temperature"] == 0.5


async def test_the_response_is_the_upstreams(api: Api) -> None:
    # "relayed from the upstream AI provider in the OpenAI chat completion format"
    answer = (await api.ask()).json
    assert answer["choices"] == completion("Hello there.")["choices"]
    assert answer["usage"] == completion("")["usage"]
    assert (answer["object"], answer["model"]) == ("chat.completion", "gpt-5.4-mini")


async def test_usage_is_there_even_if_the_upstream_has_none(api: Api) -> None:
    # "Response Shape": usage is part of it
    async def silent(seen: Seen) -> None:
        await seen.json({"choices": completion("Hello there.")["choices"]})

    api.upstream.queue.append(silent)
    answer = (await api.ask()).json
    assert (
        answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"] > 0
    )
    assert answer["object"] == "chat.completion"


async def test_the_five_statuses(api: Api, tmp_path: Path) -> None:
    # "400 Invalid request, unsupported model, or streaming requested."
    not_json = await request(
        api.server, "POST", "/v1/chat/completions", data=b"{", headers={"content-type": "application/json"}
    )
    form = await request(
        api.server, "POST", "/v1/chat/completions", data=b"a=b", headers={"content-type": "text/plain"}
    )
    gone = await request(api.server, "GET", "/v1/nothing")
    method = await request(api.server, "PUT", "/v1/chat/completions")
    assert {reply[0] for reply in (not_json, form, gone, method)} == {400}
    # "401 Missing, revoked, or invalid API key."
    assert await api.refused("") == (401, "missing_api_key")
    assert await api.refused("wrees_nobodys") == (401, "invalid_api_key")


UPSTREAM_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("500 Internal Server Error", {}),
    ("429 Too Many Requests", {"error": {"message": "slow down"}}),
    ("401 Unauthorized", {"error": {"message": "bad key"}}),
    ("503 Service Unavailable", {}),
]


@pytest.mark.parametrize(("status", "body"), UPSTREAM_FAULTS)
async def test_an_upstream_that_does_not_serve_is_a_500(api: Api, status: str, body: dict[str, Any]) -> None:
    # "500 The upstream AI service is not configured or unavailable."
    async def broken(seen: Seen) -> None:
        await seen.json(body, status)

    api.upstream.queue.append(broken)
    assert (await api.ask()).status == 500


def test_no_refusal_has_another_status() -> None:
    # "Errors": the document knows five
    surface = load(str(CONFIGS / "wrees.toml"), {}, {}).config.surface[0]
    style = style_of(surface)
    assert {refusal_status(Refusal(code, ""), style=style) for code in RULES} == {400, 401, 413, 429, 500}
    assert refusal_status(Refusal("upstream_not_configured", ""), style=style) == 500
