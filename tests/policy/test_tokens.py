"""Counting prompts: OpenAI's rule for chat, content parts, tools, and what is reserved. Text: test_tokens_text.py."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from streamrouter.policy import encodings, tokens
from streamrouter.policy.encodings import EncodingName
from streamrouter.policy.tokens import PromptCount, count_prompt, count_text
from tests.policy.test_tokens_text import O200K, PROSE, Recorder, whole

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5B", 13, b"IHDR", 1024, 1024, 8, 2, 0, 0, 0)
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG + bytes(50_000)).decode()


def raws(**members: Any) -> dict[str, Raw]:
    return {name: Raw(json.dumps(value).encode()) for name, value in members.items()}


def prompt(
    *messages: dict[str, Any], exact: bool = True, image_tokens: int | None = None, **extras: Any
) -> PromptCount:
    members = [raws(**message) for message in messages]
    return count_prompt(O200K, exact, members, raws(**extras), image_tokens)


def of_content(content: Any, image_tokens: int | None = None) -> int:
    """What a message's content adds to the empty message."""
    return prompt({"content": content}, image_tokens=image_tokens).local - prompt({}).local


JARGON = [
    (
        "system",
        None,
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    ),
    ("system", "example_user", "New synergies will help drive top-line growth."),
    ("system", "example_assistant", "Things working well together will increase revenue."),
    (
        "system",
        "example_user",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    ),
    ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
    ("user", None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
]


@pytest.mark.parametrize(("name", "count"), [("cl100k_base", 129), ("o200k_base", 124)])
def test_the_cookbook_s_prompt(name: EncodingName, count: int) -> None:
    """The numbers that OpenAI's API answered for it (its cookbook, "How to count tokens with tiktoken")."""
    messages = [raws(role=role, content=text, **({"name": who} if who else {})) for role, who, text in JARGON]
    assert count_prompt(encodings.load(name), True, messages, {}) == PromptCount(count, count)


def test_an_empty_prompt_costs_the_priming_of_the_reply() -> None:
    assert prompt() == PromptCount(3, 3)
    assert prompt({}) == PromptCount(6, 6)
    assert prompt({"role": "user", "content": None, "name": None, "refusal": None, "tool_calls": None}).local == 7


def test_special_tokens_in_text_are_text() -> None:
    text = "<|endoftext|><|endofprompt|>"
    assert prompt({"role": "user", "content": text}).local == 7 + whole(text) > 7 + 2


def test_members_that_nobody_knows_are_counted() -> None:
    reasoning, others = "Let me think about it.", {"a": [1, 2.5, {"b": "c"}]}
    assert prompt({"reasoning_content": reasoning}).local == 6 + whole(reasoning)
    assert prompt({"x": others}).local == 6 + whole(json.dumps(others))
    assert prompt({"x": True}).local == 6 + 1


def test_tool_calls() -> None:
    arguments = '{"city": "Zürich", "unit": "c"}'
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    custom = {"id": "call_2", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}
    expected = sum(map(whole, ["call_1", "weather", arguments, "call_2", "run", "print(1)"])) + 2 * tokens.CALL_TOKENS
    assert prompt({"tool_calls": [call, custom]}).local == 6 + expected
    old = {"name": "weather", "arguments": arguments}
    assert prompt({"function_call": old}).local == 6 + whole("weather") + whole(arguments) + tokens.CALL_TOKENS
    assert prompt({"function_call": None}).local == 6


@pytest.mark.parametrize("calls", [[{"type": "new", "new": {"text": PROSE}}], {"x": PROSE}, PROSE, [PROSE], [None]])
def test_tool_calls_of_another_form_are_counted_as_json(calls: Any) -> None:
    counted = whole(json.dumps(calls)) + tokens.CALL_TOKENS
    assert prompt({"tool_calls": calls}).local == 6 + counted
    assert prompt({"function_call": calls}).local == 6 + counted


def test_extras_are_counted_as_their_json_text() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": PROSE, "parameters": {"type": "object"}}}]
    format_ = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    count = prompt(tools=tools, response_format=format_, tool_choice="auto", plugins=None)
    assert count.local == 3 + sum(whole(json.dumps(it)) + tokens.EXTRA_TOKENS for it in (tools, format_, "auto"))


def test_a_data_url_in_tools_is_text_because_the_model_reads_it_as_text() -> None:
    text = json.dumps([{"description": PNG_URL}])
    assert prompt(tools=[{"description": PNG_URL}]).local == 3 + tokens.EXTRA_TOKENS + count_text(O200K, text)


# --- content parts ---


def test_text_parts() -> None:
    parts = [{"type": "text", "text": "hello world"}, {"type": "refusal", "refusal": "No."}]
    assert of_content(parts) == 2 + 2
    assert of_content("hello world") == 2
    assert of_content([]) == of_content("") == of_content(None) == 0
    assert of_content([{"type": "input_text", "text": "hello world", "cache_control": None}]) == 2


@pytest.mark.parametrize("content", [7, True, {"text": PROSE}, [PROSE], [[]], [{"type": "text", "text": {"x": PROSE}}]])
def test_content_of_another_form_is_counted_as_json(content: Any) -> None:
    inner = content[0]["text"] if content == [{"type": "text", "text": {"x": PROSE}}] else content
    assert of_content(content) == whole(json.dumps(inner))


@pytest.mark.parametrize("raw", [b'"\xff\xfe"', b'["\xff"]', b"[" * 5000 + b"]" * 5000, b'{"\xff":1}'])
def test_content_that_cannot_be_decoded_is_counted(raw: bytes) -> None:
    count = count_prompt(O200K, True, [{"content": Raw(raw), "name": Raw(raw)}], {"tools": Raw(raw)})
    assert count.local > 3 * len(raw) // 100


@pytest.mark.parametrize(
    ("image", "count"),
    [
        ({"url": PNG_URL}, 765),
        ({"url": PNG_URL, "detail": "high"}, 765),
        ({"url": PNG_URL, "detail": "low"}, 85),
        ({"url": PNG_URL.replace("/", "\\/"), "detail": "low", "format": "png"}, 85),
        ({"url": "https://example.com/cat.png"}, 1445),
        (PNG_URL, 765),
        ("https://example.com/cat.png", 1445),
    ],
)
def test_images(image: Any, count: int) -> None:
    assert of_content([{"type": "image_url", "image_url": image}]) == count
    assert of_content([{"type": "text", "text": "hello world"}, {"type": "image_url", "image_url": image}]) == count + 2
    assert of_content([{"type": "image_url", "image_url": image}] * 3, image_tokens=1000) == 3000


def test_audio_is_estimated_by_its_size() -> None:
    second = 24_000 * 2
    wav = base64.b64encode(b"RIFF" + bytes(30 * second - 4)).decode()
    assert of_content([{"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}}]) == 30 * second // 800
    mp3 = base64.b64encode(b"\xff\xfb" + bytes(30 * 16_000 - 2)).decode()
    counted = of_content([{"type": "input_audio", "input_audio": {"data": mp3, "format": "mp3"}}])
    assert counted == 30 * 16_000 // 200 >= 30 * 10
    assert of_content([{"type": "input_audio", "input_audio": {"data": mp3, "format": "wav"}}]) == counted


def test_files_and_references() -> None:
    url = "data:application/pdf;base64," + "A" * 30_000
    file = {"filename": "a.pdf", "file_data": url}
    assert of_content([{"type": "file", "file": file}]) == whole("a.pdf") + -(-len(url) // 3)
    assert of_content([{"type": "file", "file": {"file_id": "file-1"}}]) == tokens.REFERENCE_TOKENS
    audio = {"id": "audio_1"}
    assert prompt({"audio": audio}).local == 6 + tokens.REFERENCE_TOKENS + whole(json.dumps(audio))
    assert prompt({"audio": None}).local == 6


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PNG_URL}},
        {"type": "image_url", "image_url": PNG_URL},
        {"type": "image_url", "image_url": {"url": PNG_URL, "detail": 7}},
        {"type": "image_url", "image_url": [PNG_URL]},
        {"type": "input_image", "image_url": PNG_URL},
        {"type": "video_url", "video_url": {"url": PNG_URL.replace("png", "mp4")}},
        {"type": "input_file", "file_data": PNG_URL},
        {"type": "file", "file": {"file_data": PNG_URL}},
        {"type": "input_audio", "input_audio": {"data": PNG_URL, "format": "wav"}},
        {"type": "input_audio", "input_audio": PNG_URL},
    ],
)
def test_a_data_url_in_a_part_is_never_encoded_as_text(part: dict[str, Any]) -> None:
    recorder = Recorder()
    count = count_prompt(recorder, False, [raws(role="user", content=[part])], {})
    assert "AAAAAAAA" not in "".join(recorder.pieces)
    assert 85 <= count.local <= len(PNG_URL) // 3 + 50


def test_a_message_s_own_images_are_data_too() -> None:
    recorder = Recorder()
    count_prompt(recorder, True, [raws(role="assistant", images=[{"image_url": {"url": PNG_URL}}])], {})
    assert "AAAAAAAA" not in "".join(recorder.pieces)


def test_a_bomb_of_parts_is_not_made_into_dicts() -> None:
    recorder = Recorder()
    raw = Raw(b"[" + b"{}," * 200_000 + b"{}]")
    count = count_prompt(recorder, True, [{"content": raw}], {})
    assert "".join(recorder.pieces) == bytes(raw).decode()
    assert count.local >= 200_000


# --- the bound ---


def test_an_inexact_bound_has_a_margin() -> None:
    text = PROSE * 20
    count = prompt({"role": "user", "content": text}, exact=False)
    assert count.local == 3 + 1 + whole(text) + 3
    assert count.bound == -(-count.local * 115 // 100) + 64


def test_an_inexact_bound_stays_below_the_bytes() -> None:
    assert prompt({"role": "user", "content": "hi"}, exact=False) == PromptCount(3 + 1 + 1 + 3, 3 + 4 + 2 + 3)
    dense = "\0\1\2" * 500  # a token per byte or nearly so
    count = prompt({"content": dense}, exact=False)
    assert count.bound == min(-(-count.local * 115 // 100) + 64, len(dense) + 6)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
part_names = st.sampled_from(["type", "text", "image_url", "input_audio", "file", "url", "data", "detail", "x"])
names = st.sampled_from(["role", "content", "name", "tool_calls", "function_call", "audio", "refusal", "x"])
parts = st.lists(st.dictionaries(part_names, json_values, max_size=4), max_size=3)


@settings(deadline=None)
@given(st.lists(st.dictionaries(names, json_values | parts, max_size=5), max_size=4), json_values)
def test_any_json_is_counted(messages: list[dict[str, Any]], extra: Any) -> None:
    body = msgspec.json.encode(messages)
    members = msgspec.json.decode(body, type=list[dict[str, Raw]])
    extras = {"tools": Raw(msgspec.json.encode(extra))}
    exact, inexact = (count_prompt(O200K, exact, members, extras) for exact in (True, False))
    assert exact.local == exact.bound == inexact.local <= inexact.bound <= -(-exact.local * 115 // 100) + 64
    assert exact.local >= 3 + 3 * len(messages)
