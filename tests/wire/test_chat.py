from __future__ import annotations

import json
import time
from typing import Any

import pytest

from streamrouter.wire.chat import OPENAI_ROLES, decode_call
from streamrouter.wire.fields import MOST_FAULTS, InvalidFields
from tests.wire.calls import BODY, USER, call_of, forwarded, refusal, refused


def test_a_call_is_what_was_asked_for() -> None:
    body = json.dumps(
        BODY | {"stream": True, "stream_options": {"include_usage": True}, "n": 2, "max_tokens": 7, "user": "u"}
    ).encode()
    call = decode_call(body, "req_1")
    assert (call.id, call.model, call.stream, call.include_usage, call.n) == ("req_1", "gpt-5.4-mini", True, True, 2)
    assert (call.max_tokens, call.size) == (7, len(body))
    assert bytes(call.members["user"]) == b'"u"'
    assert [{name: bytes(raw) for name, raw in message.items()} for message in call.messages] == [
        {"role": b'"user"', "content": b'"Hi"'}
    ]


def test_what_was_not_said_has_openais_defaults() -> None:
    for members in (
        {},
        dict.fromkeys(("stream", "stream_options", "n", "max_tokens", "max_completion_tokens", "best_of")),
    ):
        call = call_of(**members)
        assert (call.stream, call.include_usage, call.n, call.max_tokens) == (False, False, 1, None)


@pytest.mark.parametrize(
    ("members", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 5),
        ({"max_tokens": 9, "max_completion_tokens": 5}, 5),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 2**63 - 1}, 2**63 - 1),
    ],
)
def test_of_two_limits_the_smaller_holds(members: dict[str, Any], limit: int) -> None:
    assert call_of(**members).max_tokens == limit


INVALID_JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "cut": b'{"model":"m","messages":[{"role":"user","con',
    "text": b"hello",
    "single quotes": b"{'model':'m'}",
    "trailing comma": b'{"model":"m",}',
    "trailing text": json.dumps(BODY).encode() + b"x",
    "two texts": json.dumps(BODY).encode() * 2,
    "comment": b'{"model":"m"/**/}',
    "nan": b'{"model":"m","messages":[],"temperature":NaN}',
    "infinity": b'{"temperature":-Infinity}',
    "leading zero": b'{"n":01}',
    "plus": b'{"n":+1}',
    "hex": b'{"n":0x1}',
    "bare point": b'{"n":1.}',
    "bare exponent": b'{"n":1e}',
    "unquoted key": b"{n:1}",
    "number as key": b"{1:1}",
    "bad escape": b'{"a":"\\x41"}',
    "raw line break": b'{"a":"x\ny"}',
    "nul in a string": b'{"a":"x\x00y"}',
    "nul behind": json.dumps(BODY).encode() + b"\x00",
    "bom": b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    "utf-16": json.dumps(BODY).encode("utf-16"),
    "utf-16-le": json.dumps(BODY).encode("utf-16-le"),
    "utf-32": json.dumps(BODY).encode("utf-32"),
    "array": b"[]",
    "string": b'"{}"',
    "number": b"1",
    "null": b"null",
    "depth": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "depth, cut": b"[" * 100_000,
    "depth of objects": b'{"a":' * 100_000,
    "depth within the decoder's": b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "lone surrogate in a key": b'{"\\ud800":1}',
    "swapped surrogates": b'{"a":"\\ude00\\ud83d"}',
}
BAD_UTF8 = [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80"]


@pytest.mark.parametrize("body", INVALID_JSON.values(), ids=INVALID_JSON.keys())
def test_what_is_not_one_json_object_is_refused_at_once(body: bytes) -> None:
    started = time.perf_counter()
    found = refusal(body)
    assert time.perf_counter() - started < 0.2  # tenfold of what is promised
    assert (found.code, found.rule.status) == ("invalid_json", 400)


@pytest.mark.parametrize("bad", BAD_UTF8, ids=repr)
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"X","messages":[{"role":"user","content":"a"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"X"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"unknown":{"a":["X"]}}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"X":1}',
        b'{"model":"m","messages":[{"role":"user","content":"a"}],"tools":[{"X":1}]}',
    ],
)
def test_bad_utf8_anywhere_is_refused(body: bytes, bad: bytes) -> None:
    assert refusal(body.replace(b"X", bad)).code == "invalid_json"


def test_what_is_valid_is_not_refused() -> None:
    for text in ("é", "😀", "\u2028", "\x7f", "\ufeff", "\ufffe", "<|endoftext|>"):
        for ascii_only in (True, False):
            body = json.dumps(
                BODY | {"messages": [{"role": "user", "content": text}]}, ensure_ascii=ascii_only
            ).encode()
            assert forwarded(decode_call(body, "req_1"))["messages"][0]["content"] == text
    call_of(x=json.loads("[" * 200 + "]" * 200))


@pytest.mark.parametrize("where", [b'"seed":%b', b'"max_tokens":%b', b'"unknown":{"a":[%b]}', b'"top_p":%b'])
@pytest.mark.parametrize(
    "number", [b"9" * 400, b"-" + b"9" * 400, b"1e400", b"-1e400", b"9" * 5000, b"18446744073709551616"]
)
def test_a_number_that_does_not_fit_is_refused_wherever_it_is(where: bytes, number: bytes) -> None:
    body = json.dumps(BODY).encode()[:-1] + b"," + where % number + b"}"
    assert refusal(body).code == "invalid_value"


def test_a_number_out_of_range_is_named() -> None:
    assert refusal(json.dumps(BODY).encode()[:-1] + b',"temperature":1e400}').param == "temperature"
    assert refusal(json.dumps(BODY).encode()[:-1] + b',"a":"\xff","temperature":1e400}').code == "invalid_json"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "model"),
        ({"messages": [USER]}, "missing_required_parameter", "model"),
        ({"model": "m"}, "missing_required_parameter", "messages"),
        ({"model": 1, "messages": [USER]}, "invalid_type", "model"),
        ({"model": None, "messages": [USER]}, "invalid_type", "model"),
        ({"model": ["m"], "messages": [USER]}, "invalid_type", "model"),
        ({"model": "m", "messages": None}, "invalid_type", "messages"),
        ({"model": "m", "messages": "Hi"}, "invalid_type", "messages"),
        ({"model": "m", "messages": {}}, "invalid_type", "messages"),
        ({"model": "m", "messages": []}, "invalid_value", "messages"),
    ],
)
def test_model_and_messages_are_needed(body: dict[str, Any], code: str, param: str) -> None:
    found = refusal(json.dumps(body).encode())
    assert (found.code, found.param) == (code, param)


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
GOOD_MESSAGES: list[dict[str, Any]] = [
    *({"role": role, "content": "x"} for role in sorted(OPENAI_ROLES)),
    {"role": "user", "content": ""},
    {"role": "user", "content": [{"type": "text", "text": "x"}], "name": "n"},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "new_kind"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "tool_calls": [CALL, {"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
    {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
    {"role": "assistant", "content": "x", "tool_calls": None, "function_call": None, "refusal": None, "name": None},
    {"role": "assistant", "refusal": "no", "reasoning_content": "hm", "reasoning_details": [{"a": 1}]},
    {"role": "tool", "content": "x", "tool_call_id": "call_1"},
    {"role": "function", "content": None, "name": "f"},
    {"role": "user", "content": "x", "unknown": {"a": 1}},
]
BAD_MESSAGES: list[tuple[Any, str, str]] = [
    ("x", "invalid_type", ""),
    (None, "invalid_type", ""),
    ([], "invalid_type", ""),
    ({"content": "x"}, "missing_required_parameter", ".role"),
    ({"role": None, "content": "x"}, "invalid_type", ".role"),
    ({"role": 1, "content": "x"}, "invalid_type", ".role"),
    ({"role": "User", "content": "x"}, "invalid_value", ".role"),
    ({"role": "root", "content": "x"}, "invalid_value", ".role"),
    ({"role": "user"}, "missing_required_parameter", ".content"),
    ({"role": "user", "content": None}, "invalid_type", ".content"),
    ({"role": "tool", "content": None}, "invalid_type", ".content"),
    ({"role": "user", "content": 1}, "invalid_type", ".content"),
    ({"role": "user", "content": {"type": "text"}}, "invalid_type", ".content"),
    ({"role": "user", "content": []}, "invalid_value", ".content"),
    ({"role": "user", "content": ["x"]}, "invalid_type", ".content[0]"),
    ({"role": "user", "content": [{"text": "x"}]}, "missing_required_parameter", ".content[0].type"),
    ({"role": "user", "content": [{"type": 1}]}, "invalid_type", ".content[0].type"),
    ({"role": "user", "content": [{"type": "text"}]}, "missing_required_parameter", ".content[0].text"),
    ({"role": "user", "content": [{"type": "text", "text": ["x"]}]}, "invalid_type", ".content[0].text"),
    ({"role": "user", "content": "x", "name": 1}, "invalid_type", ".name"),
    ({"role": "assistant", "content": "x", "tool_calls": {}}, "invalid_type", ".tool_calls"),
    ({"role": "assistant", "content": "x", "tool_calls": [1]}, "invalid_type", ".tool_calls[0]"),
    ({"role": "assistant", "tool_calls": [{"function": "f"}], "id": 1}, "invalid_type", ".tool_calls[0].function"),
    (
        {"role": "assistant", "content": "x", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        "invalid_type",
        ".tool_calls[0].function.arguments",
    ),
    (
        {"role": "assistant", "content": "x", "function_call": {"arguments": "x"}},
        "missing_required_parameter",
        ".function_call.name",
    ),
]


@pytest.mark.parametrize("message", GOOD_MESSAGES, ids=json.dumps)
def test_messages_as_openai_takes_them(message: dict[str, Any]) -> None:
    assert forwarded(call_of(messages=[USER, message]))["messages"] == [USER, message]


@pytest.mark.parametrize(("message", "code", "where"), BAD_MESSAGES, ids=json.dumps)
def test_a_message_at_fault_is_named(message: Any, code: str, where: str) -> None:
    assert refused(messages=[USER, message]) == (code, "messages[1]" + where)


def test_a_surface_names_its_roles() -> None:
    body = json.dumps(BODY | {"messages": [{"role": "tool", "content": "x"}]}).encode()
    found = refusal(body, roles=frozenset({"system", "user", "assistant"}))
    assert (found.code, found.param) == ("invalid_value", "messages[0].role")
    assert "assistant, system, user" in found.message


def test_all_faults_come_at_once() -> None:
    body = {"messages": [{"role": "x"}, 1], "temperature": 9, "n": "1"}
    found = refusal(json.dumps(body).encode())
    assert isinstance(found, InvalidFields)
    assert [fault.param for fault in found.faults] == [
        "model",
        "n",
        "temperature",
        "messages[0].role",
        "messages[0].content",
        "messages[1]",
    ]


def test_faults_are_not_written_down_without_end() -> None:
    parts = [{"role": "user", "content": [1] * 50_000}]
    for messages in ([1] * 10_000, parts, [{"role": "assistant", "content": "", "tool_calls": [1] * 50_000}]):
        found = refusal(json.dumps(BODY | {"messages": messages}).encode())
        assert isinstance(found, InvalidFields)
        assert len(found.faults) == MOST_FAULTS
