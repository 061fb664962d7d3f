"""Wrift's document, sentence by sentence, against configs/wrift.toml."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.background import until
from tests.conformance.shipped import Api, echo, run, serving
from tests.conformance.wire import events, request
from tests.support.upstream import DONE, Seen, delta, event, usage

HOST = "https://api.wrift.ai"
MODEL = "openai/gpt-4.1-mini"

CURL = (
    'curl -X POST "https://api.wrift.ai/v1/chat/completions" \\\n  -H "Content-Type: application/json" \\\n'
    '  -d \'{    "model": "string",    "messages": [      {        "content": "string",        "role": "developer"'
    "      }    ]  }'"
)

TOOL = {"type": "function", "function": {"name": "my_function", "parameters": {"type": "object"}}}
# Every documented field with a value of its type, and one that is not.
FIELDS: dict[str, tuple[Any, Any]] = {
    "audio": ({"voice": "alloy", "format": "wav"}, "alloy"),
    "frequency_penalty": (0.5, "0.5"),
    "logit_bias": ({"50256": -100}, [1]),
    "logprobs": (True, "yes"),
    "max_completion_tokens": (7, 7.5),
    "modalities": (["text", "audio"], "text"),
    "n": (2, "2"),
    "parallel_tool_calls": (True, 1),
    "prediction": ({"type": "content", "content": "x = 1"}, "x = 1"),
    "presence_penalty": (-0.5, "0.5"),
    "reasoning_effort": ("high", 3),
    "stop": (["\n", "END"], 7),
    "temperature": (0.3, "warm"),
    "tool_choice": ({"type": "function", "function": {"name": "my_function"}}, 1),
    "tools": ([TOOL], TOOL),
    "top_logprobs": (3, 1.5),
    "top_p": (0.9, "most"),
    "verbosity": ("low", 1),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("wrift", tmp_path_factory.mktemp("wrift"), "/v1", MODEL) as served:
        yield served


async def faults(api: Api, **members: Any) -> list[dict[str, Any]]:
    """The detail list of a request that does not reach the upstream."""
    api.upstream.seen.clear()
    answer = await api.ask(**members)
    assert (answer.status, api.upstream.seen) == (422, [])
    assert set(answer.json) == {"detail"}
    found: list[dict[str, Any]] = answer.json["detail"]
    for fault in found:
        assert set(fault) == {"loc", "msg", "type"}
        assert fault["loc"][0] == "body"
    return found


def test_the_curl_example(api: Api) -> None:
    # the example's curl, with the key that "Authorization Bearer <token>" asks for
    keyed = CURL.replace("-X POST", f'-X POST -H "Authorization: Bearer {api.server.key}"')
    # its placeholder is no model_owner/model_name: the example's own error shape says so
    refused = json.loads(run(api.server, ["sh", "-c"], keyed, HOST))
    assert [(fault["loc"], fault["type"]) for fault in refused["detail"]] == [
        (["body", "model"], "string_pattern_mismatch")
    ]
    answer = json.loads(run(api.server, ["sh", "-c"], keyed.replace('"model": "string"', f'"model": "{MODEL}"'), HOST))
    assert answer["choices"][0]["message"]["content"] == "Hello there."
    assert api.upstream.seen[-1].body["messages"] == [{"content": "string", "role": "developer"}]


async def test_authorization(api: Api) -> None:
    # "Authorization Bearer <token>" "In: header"
    answer = await api.ask("")
    assert answer.status == 401
    assert answer.json["detail"][0]["type"] == "missing_api_key"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


async def test_model_names(api: Api) -> None:
    # "Models must be in the following format: model_owner/model_name or model_owner/model_name:version_number."
    assert (await api.sent())["model"] == MODEL
    assert (await api.sent(model=f"{MODEL}:2025-04-14"))["model"] == f"{MODEL}:2025-04-14"
    assert (await api.ask(model=f"{MODEL}:2025-04-14")).json["model"] == f"{MODEL}:2025-04-14"
    for name in ("gpt-4.1-mini", "a/b/c", "a/", "/b", "a/b:", "a/b:1:2", "a b/c", ""):
        assert [fault["loc"] for fault in await faults(api, model=name)] == [["body", "model"]]
    assert (await faults(api, model=...))[0]["type"] == "missing"
    assert (await api.ask(model="nobody/nothing")).status == 404


@pytest.mark.parametrize(
    "content",
    [
        "text",
        [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "https://a.example/b"}}],
        [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
    ],
)
async def test_messages(api: Api, content: Any) -> None:
    # "different message types (modalities) are supported, like text, vision, and audio"
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": content}]
    assert (await api.sent(messages=messages))["messages"] == messages
    assert [fault["loc"] for fault in await faults(api, messages="hi")] == [["body", "messages"]]


@pytest.mark.parametrize("name", FIELDS)
async def test_every_documented_field_is_typed_and_forwarded(api: Api, name: str) -> None:
    # the heading of each field, and its sentence
    good, bad = FIELDS[name]
    sent = await api.sent(**{name: good})
    assert sent["max_tokens" if name == "max_completion_tokens" else name] == good
    assert [fault["loc"][:2] for fault in await faults(api, **{name: bad})] == [["body", name]]


async def test_alternatives_and_defaults(api: Api) -> None:
    # "audio? ChatCompletionAudioParam | null", "prediction? … | null"
    for name in ("audio", "prediction"):
        assert (await api.sent(**{name: None}))[name] is None
    # "Stop sequence(s)"
    assert (await api.sent(stop="END"))["stop"] == "END"
    # "none means …", "auto means …", "required means …"
    for choice in ("none", "auto", "required"):
        assert (await api.sent(tools=[TOOL], tool_choice=choice))["tool_choice"] == choice
    # "Whether to enable parallel tool calls during tool use. Default false"
    assert (await api.sent(tools=[TOOL]))["parallel_tool_calls"] is False
    assert (await api.sent(tools=[TOOL], parallel_tool_calls=True))["parallel_tool_calls"] is True
    assert "parallel_tool_calls" not in await api.sent()
    # what the document does not name is forwarded
    assert (await api.sent(seed=3, invented={"a": 1}))["invented"] == {"a": 1}


async def test_all_faults_at_once(api: Api) -> None:
    # the response with "detail": [{"loc", "msg", "type"}]
    bad = {name: value for name, (_, value) in FIELDS.items()}
    messages = [{"role": "robot", "content": "x"}, {"role": "user"}, "hi"]
    found = await faults(api, model="string", messages=messages, **bad)
    assert {fault["loc"][1] for fault in found} == {"model", "messages", *FIELDS}
    assert ["body", "messages", 1, "content"] in [fault["loc"] for fault in found]
    assert all(fault["msg"] for fault in found)
    headers = {"Content-Type": "application/json"}
    status, _, text = await request(api.server, "POST", "/v1/chat/completions", headers=headers, data=b"{")
    assert (status, json.loads(text)["detail"][0]["type"]) == (422, "invalid_json")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat"])
async def test_other_refusals_have_the_same_shape(api: Api, path: str) -> None:
    status, headers, text = await request(api.server, "GET", path)
    assert (status, json.loads(text)["detail"][0]["type"]) == (404, "not_found")
    assert json.loads(text)["request_id"] == headers["x-request-id"]


FULL: dict[str, Any] = {
    "id": "string",
    "choices": [
        {
            "finish_reason": "tool_calls",
            "index": 0,
            "logprobs": {
                "content": [{"token": "s", "bytes": [0], "logprob": 0, "top_logprobs": []}],
                "refusal": [{"token": "s", "bytes": [0], "logprob": -1.5, "top_logprobs": []}],
            },
            "message": {
                "content": "string",
                "refusal": "string",
                "role": "assistant",
                "audio": {"id": "string", "data": "c3RyaW5n", "transcript": "string"},
                "tool_calls": [{"id": "string", "function": {"arguments": "{}", "name": "string"}, "type": "function"}],
            },
        }
    ],
    "created": 1,
    "model": MODEL,
    "object": "chat.completion",
    "system_fingerprint": "string",
    "usage": {
        "completion_tokens": 9,
        "prompt_tokens": 8,
        "total_tokens": 17,
        "completion_tokens_details": {
            "accepted_prediction_tokens": 1,
            "audio_tokens": 2,
            "reasoning_tokens": 3,
            "rejected_prediction_tokens": 4,
        },
        "prompt_tokens_details": {"audio_tokens": 5, "cached_tokens": 6},
    },
}


async def test_the_response_is_untouched(api: Api) -> None:
    # "Response Body": logprobs, refusal, audio, tool_calls, system_fingerprint, usage with its details
    async def full(seen: Seen) -> None:
        await seen.json(FULL)

    api.upstream.queue.append(full)
    answer = await api.ask()
    assert answer.json == FULL
    assert answer.headers["x-request-id"].startswith("req_")


async def test_streams_are_relayed(api: Api) -> None:
    async def play(seen: Seen) -> None:
        await seen.head_sse()
        for framed in (delta("Hi", finish="stop"), event({"choices": [], "usage": usage(7, 1)}), DONE):
            await seen.chunk(framed)
        await seen.end()

    api.upstream.queue.append(play)
    chunks = events((await api.ask(stream=True)).text)
    assert chunks[-1] == "[DONE]"
    assert "request_id" not in chunks[0]

    async def breaks(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("Hi"))
        await seen.end()

    api.upstream.queue.append(breaks)
    last = events((await api.ask(stream=True)).text)[-1]
    assert last["detail"][0]["type"] == last["error"]["code"] == "upstream_truncated"


async def test_a_timeout_cancels_the_prediction(tmp_path_factory: pytest.TempPathFactory) -> None:
    # "If the model does not respond in time, the request will be timed out and the prediction will be cancelled."
    hung_up, cancelled = threading.Event(), threading.Event()

    async def silence(seen: Seen) -> None:
        await seen.head_sse("X-Prediction-Id: p/1\r\n")
        await seen.gone()
        hung_up.set()

    async def cancel(seen: Seen) -> None:
        await seen.json({})
        cancelled.set()

    changes = (
        ("attempt_timeout_s = 120.0", "attempt_timeout_s = 0.3"),
        (
            "[upstreams.main]\n",
            '[upstreams.main]\ncancel_path = "/predictions/{id}/cancel"\ncancel_id = "X-Prediction-Id"\n',
        ),
    )
    with serving("wrift", tmp_path_factory.mktemp("slow"), "/v1", MODEL, *changes) as slow:
        slow.upstream.queue.extend([silence, cancel])
        slow.upstream.script = echo
        answer = await slow.ask()
        assert (answer.status, answer.json["detail"][0]["type"]) == (504, "upstream_timeout")
        assert answer.json["request_id"].startswith("req_")
        assert await until(hung_up)
        assert await until(cancelled)
        assert slow.upstream.seen[-1].head.startswith("POST /v1/predictions/p%2F1/cancel ")
        await asyncio.sleep(0)
        assert slow.server.quiet()["in_flight"] == 0
