"""WeryAI's document, sentence by sentence, against configs/weryai.toml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.shipped import Api, run, serving
from tests.conformance.wire import events
from tests.support.upstream import Seen, completion, streamed

HOST = "https://api.weryai.com"
GEMINI = ["GEMINI_3_5_FLASH", "GEMINI_3_1_PRO", "GEMINI_3_1_FLASH_LITE", "GEMINI_25_PRO", "GEMINI_25_FLASH"]
ROWS = {
    "GPT_5_5": "GPT-5.5",
    "GPT_5_4": "GPT-5.4",
    "CLAUDE_FABLE_5": "Claude-Fable-5",
    "CLAUDE_4_8_OPUS": "Claude-4.8-Opus",
    "CLAUDE_4_6_OPUS": "Claude-4.6-Opus",
    "GEMINI_3_5_FLASH": "Gemini-3.5-Flash",
    "GEMINI_3_1_PRO": "Gemini-3.1-Pro",
    "GPT_5_1": "GPT-5.1",
    "CLAUDE_4_5_OPUS": "Claude-4.5-Opus",
    "GPT_5": "GPT-5",
    "DEEPSEEK_R1": "DeepSeek-R1",
    "KIMI_K2_THINKING": "Kimi K2 Thinking",
    "QWEN_QWQ_32B": "QwQ 32B",
    "GROK_4": "Grok-4",
    "CLAUDE_SONNET_4_6": "Claude-Sonnet-4.6",
    "GEMINI_3_1_FLASH_LITE": "Gemini-3.1-Flash-Lite",
    "QWEN_3_5_PLUS": "Qwen3.5 Plus",
    "GLM_5": "GLM 5",
    "KIMI_K2_5": "Kimi K2.5",
    "CLAUDE_SONNET_4_5": "Claude-Sonnet-4.5",
    "GPT_4O": "GPT-4o",
    "GPT_4_1": "GPT-4.1",
    "GEMINI_25_PRO": "Gemini-2.5-Pro",
    "GLM_4_7_FLASH": "GLM 4.7 Flash",
    "GEMINI_25_FLASH": "Gemini-2.5-Flash",
    "SEED_2_0_MINI": "Seed-2.0-Mini",
    "CLAUDE_4_OPUS": "Claude-4-Opus",
    "CLAUDE_4_SONNET": "Claude-4-Sonnet",
}
WEB = [{"id": "web"}]
USER = {"role": "user", "content": "Hi"}

CURL = """\
curl --request POST \\
  --url https://api.weryai.com/v1/chat/completions \\
  --header 'Authorization: Bearer <token>' \\
  --header 'Content-Type: application/json' \\
  --data '
{
  "model": "GEMINI_25_FLASH",
  "messages": [
    {
      "role": "system",
      "content": "You are a helpful assistant."
    },
    {
      "role": "user",
      "content": "What is artificial intelligence?"
    }
  ],
  "max_tokens": 1024,
  "temperature": 1,
  "top_p": 1,
  "n": 1
}
'
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("weryai", tmp_path_factory.mktemp("weryai"), "/v1", "GEMINI_25_FLASH") as served:
        yield served


def test_the_curl_example(api: Api) -> None:
    # "Chat Completion": POST /v1/chat/completions
    answer = json.loads(run(api.server, ["sh", "-c"], CURL.replace("<token>", api.server.key), HOST))
    assert (answer["object"], answer["model"]) == ("chat.completion", "GEMINI_25_FLASH")
    sent = api.upstream.seen[-1].body
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"], sent["n"]) == (1024, 1, 1, 1)


async def test_authorization(api: Api) -> None:
    # "Authenticate using Bearer token." "Example: Authorization: Bearer sk-xxxxxxxxxxxxxxxx"
    assert api.server.key.startswith("sk-")
    assert await api.refused("") == (401, "missing_api_key")
    assert (await api.ask("", headers={"x-api-key": api.server.key})).status == 401


async def test_models(api: Api) -> None:
    # "Use the /v1/chat/models endpoint to get available models." (the table of names and keys)
    listed = (await api.get("/chat/models")).json["data"]
    assert {model["key"]: model["name"] for model in listed} == ROWS
    # "Chat model key." "required"
    for key in ROWS:
        assert (await api.ask(model=key)).json["model"] == key
    assert await api.refused(model="gpt-5.5") == (404, "model_not_found")
    assert await api.refused(model=...) == (400, "missing_required_parameter")


async def test_messages(api: Api) -> None:
    # "Required array length: 1 - 50 elements"
    assert await api.refused(messages=[]) == (400, "invalid_value")
    assert (await api.ask(messages=[USER] * 50)).status == 200
    assert await api.refused(messages=[USER] * 51) == (400, "invalid_value")
    assert await api.refused(messages=...) == (400, "missing_required_parameter")
    # "Supports multi-turn by including history."
    turns = [USER, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}]
    assert (await api.sent(messages=turns))["messages"] == turns


async def test_max_tokens(api: Api) -> None:
    # "Maximum number of tokens to generate. Default 1024."
    assert (await api.sent())["max_tokens"] == 1024
    assert (await api.sent(max_tokens=77))["max_tokens"] == 77
    # "The upper limit depends on the model (use the model list endpoint to check)."
    limits = {model["key"]: model["max_tokens"] for model in (await api.get("/chat/models")).json["data"]}
    assert limits["DEEPSEEK_R1"] == 8192
    assert limits["GEMINI_25_FLASH"] == 65_535
    assert (await api.sent(model="DEEPSEEK_R1", max_tokens=1_000_000))["max_tokens"] == 8192
    # "Required range: x >= 1"
    assert await api.refused(max_tokens=0) == (400, "invalid_value")
    assert await api.refused(max_tokens="many") == (400, "invalid_type")


# "Required range: …" of each field
RANGES: list[tuple[str, float, float, float]] = [
    ("temperature", 0, 2, 0.01),
    ("top_p", 0, 1, 0.01),
    ("presence_penalty", -2, 2, 0.01),
    ("frequency_penalty", -2, 2, 0.01),
]


@pytest.mark.parametrize(("name", "low", "high", "step"), RANGES)
async def test_ranges(api: Api, name: str, low: float, high: float, step: float) -> None:
    too_far: list[dict[str, Any]] = [{name: low - step}, {name: high + step}]
    for value in (low, high):
        assert (await api.sent(**{name: value}))[name] == value
    for members in too_far:
        assert await api.refused(**members) == (400, "invalid_value")
    # "number"
    assert await api.refused(**{name: "1"}) == (400, "invalid_type")
    # "default:1" of temperature and top_p is the upstream's default as well: nothing is sent
    assert name not in await api.sent()


async def test_seed_and_n(api: Api) -> None:
    # "seed integer"
    assert (await api.sent(seed=-7))["seed"] == -7
    assert await api.refused(seed=0.5) == (400, "invalid_type")
    # "n integer default:1" "Required range: x >= 1"
    assert (await api.sent(n=3))["n"] == 3
    assert await api.refused(n=0) == (400, "invalid_value")


async def test_stream(api: Api) -> None:
    # "stream boolean default:false" "Whether to stream the response"
    assert (await api.sent())["stream"] is False
    assert await api.refused(stream=1) == (400, "invalid_type")
    api.upstream.queue.append(streamed(["Hello", " there."]))
    chunks = events((await api.ask(stream=True)).text)
    assert chunks[-1] == "[DONE]"
    assert {chunk["model"] for chunk in chunks[:-1]} == {"GEMINI_25_FLASH"}


@pytest.mark.parametrize("model", GEMINI)
async def test_gemini_models_search_with_google(api: Api, model: str) -> None:
    # "Gemini models are currently integrated with Google Search"; 'plugins[].id = "web" requests web search.'
    sent = await api.sent(model=model, plugins=WEB)
    assert "plugins" not in sent
    assert sent["tools"] == [{"google_search": {}}]
    # "When Gemini models use web search, response_format.type = "json_schema" cannot be used at the same time."
    schema: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    assert await api.refused(model=model, plugins=WEB, response_format=schema) == (400, "invalid_value")
    assert (await api.sent(model=model, plugins=WEB, response_format={"type": "json_object"}))["tools"]
    assert (await api.sent(model=model, response_format=schema))["response_format"] == schema


async def test_gemini_keeps_the_clients_tools_and_other_plugins(api: Api) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    sent = await api.sent(plugins=[{"id": "files"}, *WEB], tools=[tool])
    assert sent["tools"] == [tool, {"google_search": {}}]
    assert sent["plugins"] == [{"id": "files"}]


async def test_other_models_get_the_plugins_as_they_were_sent(api: Api) -> None:
    # "for other models, the plugins parameter is passed through"
    schema: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    sent = await api.sent(model="GPT_5_5", plugins=WEB, response_format=schema)
    assert (sent["plugins"], sent["response_format"]) == (WEB, schema)
    assert "tools" not in sent
    # "plugins object[]" "Optional"
    assert await api.refused(plugins={"id": "web"}) == (400, "invalid_type")
    assert await api.refused(plugins=["web"]) == (400, "invalid_type")


async def test_the_response(api: Api) -> None:
    # "id", 'object … always "chat.completion"', "created … Unix timestamp (in seconds)", "model", "choices", "usage"
    answer = (await api.ask()).json
    assert answer["id"] == "chatcmpl-up"
    assert (answer["object"], answer["created"], answer["model"]) == ("chat.completion", 1735689600, "GEMINI_25_FLASH")
    assert answer["choices"] == completion("Hello there.")["choices"]
    assert answer["usage"]["total_tokens"] == 10

    async def bare(seen: Seen) -> None:
        await seen.json({"choices": completion("Hello there.")["choices"], "usage": None})

    api.upstream.queue.append(bare)
    answer = (await api.ask()).json
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert answer["created"] > 1_700_000_000
    assert answer["usage"]["completion_tokens"] > 0
