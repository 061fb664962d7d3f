from __future__ import annotations

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from streamrouter.errors import Refusal
from streamrouter.wire.chat import OPENAI_ROLES, STEERING, Call, decode_call, forward_body
from streamrouter.wire.fields import MOST_FAULTS, OPENAI_FIELDS, Field, InvalidFields

USER = {"role": "user", "content": "Hi"}
BODY = {"model": "gpt-5.4-mini", "messages": [USER]}


def call_of(**members: Any) -> Call:
    return decode_call(json.dumps(BODY | members).encode(), "req_1")


def refusal(body: bytes, **how: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        decode_call(body, "req_1", **how)
    return refused.value


def refused(**members: Any) -> tuple[str, str | None]:
    found = refusal(json.dumps(BODY | members).encode())
    return found.code, found.param


def forwarded(call: Call, **how: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": "upstream",
        "limit": 100,
        "limit_field": "max_tokens",
        "ask_usage": True,
        "stream": call.stream,
    } | how
    sent: dict[str, Any] = json.loads(forward_body(call, **told))
    return sent


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


# S15: whatever is tried, it is refused, or the upstream gets exactly our numbers.
REFUSED_TRICKS: list[tuple[bytes, str, str]] = [
    (b'"max_tokens":0', "invalid_value", "max_tokens"),
    (b'"max_tokens":-1', "invalid_value", "max_tokens"),
    (b'"max_tokens":10.0', "invalid_type", "max_tokens"),
    (b'"max_tokens":"10"', "invalid_type", "max_tokens"),
    (b'"max_tokens":true', "invalid_type", "max_tokens"),
    (b'"max_tokens":[10]', "invalid_type", "max_tokens"),
    (b'"max_completion_tokens":0', "invalid_value", "max_completion_tokens"),
    (b'"max_tokens":1,"max_tokens":100000', "invalid_value", "max_tokens"),
    (b'"max_tokens":1, "max\\u005ftokens":100000', "invalid_value", "max_tokens"),
    (b'"Max_Tokens":100000', "invalid_value", "Max_Tokens"),
    (b'"max_tokens":1,"MAX_TOKENS":100000', "invalid_value", "MAX_TOKENS"),
    ('"max_to\u212aens":100000'.encode(), "invalid_value", "max_to\u212aens"),
    (b'"N":100', "invalid_value", "N"),
    (b'"n":0', "invalid_value", "n"),
    (b'"n":129', "invalid_value", "n"),
    (b'"n":1,"n":128', "invalid_value", "n"),
    (b'"n":1.5', "invalid_type", "n"),
    (b'"best_of":20', "invalid_value", "best_of"),
    (b'"n":2,"best_of":3', "invalid_value", "best_of"),
    (b'"best_of":"20"', "invalid_type", "best_of"),
    (b'"Best_Of":20', "invalid_value", "Best_Of"),
    (b'"stream":"yes"', "invalid_type", "stream"),
    (b'"stream_options":[]', "invalid_type", "stream_options"),
    (b'"stream_options":{"include_usage":1}', "invalid_type", "stream_options.include_usage"),
    (b'"stream_options":{"Include_Usage":false}', "invalid_value", "stream_options.Include_Usage"),
    (b'"Messages":[]', "invalid_value", "Messages"),
    (b'"Model":"other"', "invalid_value", "Model"),
    (b'"Tools":[]', "invalid_value", "Tools"),
    (b'"API_Base":"http://x"', "invalid_value", "API_Base"),
    (b'"tools":[{}' + b",{}" * 128 + b"]", "invalid_value", "tools"),
]


@pytest.mark.parametrize("spaced", [b"", b" "])
@pytest.mark.parametrize(("trick", "code", "param"), REFUSED_TRICKS, ids=lambda value: repr(value)[:40])
def test_tricks_with_numbers_are_refused(trick: bytes, code: str, param: str, spaced: bytes) -> None:
    body = json.dumps(BODY, separators=(",", ":")).encode()[:-1] + b"," + spaced + trick + b"}"
    found = refusal(body)
    assert (found.code, found.param) == (code, param)


@pytest.mark.parametrize("table", [{"model": Field(type="string")}, {}], ids=["a short table", "no table"])
@pytest.mark.parametrize(
    "trick", [b'"n":"x"', b'"n":-1', b'"max_tokens":[]', b'"best_of":2', b'"stream":1', b'"stream_options":1']
)
def test_our_own_members_are_checked_whatever_the_table_says(table: dict[str, Field], trick: bytes) -> None:
    assert refusal(json.dumps(BODY).encode()[:-1] + b"," + trick + b"}", table=table).code.startswith("invalid_")
    assert refusal(b"{}", table=table).code == "missing_required_parameter"
    assert refusal(b'{"model":"m"}', table=table).code == "missing_required_parameter"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"max_tokens": 9999},
        {"max_completion_tokens": 9999},
        {"max_tokens": 1, "max_completion_tokens": 9999},
        {"max_tokens": None, "max_completion_tokens": None},
    ],
    ids=json.dumps,
)
def test_the_upstream_gets_our_limit_once(members: dict[str, Any], field: str) -> None:
    sent = forwarded(call_of(**members), limit=77, limit_field=field)
    assert {name: sent[name] for name in sent if "max" in name} == {field: 77}
    assert sent["model"] == "upstream"


@pytest.mark.parametrize(("members", "n"), [({"n": 3}, 3), ({"n": None}, 1), ({"n": 128, "best_of": 128}, 128)])
def test_the_upstream_gets_our_n_and_no_best_of(members: dict[str, Any], n: int) -> None:
    call = call_of(**members)
    sent = forwarded(call)
    assert sent["n"] == call.n == n
    assert "best_of" not in sent
    assert "n" not in forwarded(call_of())


@pytest.mark.parametrize(
    ("options", "ask_usage", "stream", "sent"),
    [
        (None, True, True, {"include_usage": True}),
        ({}, True, True, {"include_usage": True}),
        ({"include_usage": False}, True, True, {"include_usage": True}),
        (
            {"include_usage": None, "include_obfuscation": False},
            True,
            True,
            {"include_usage": True, "include_obfuscation": False},
        ),
        ({"include_usage": True}, False, True, None),
        ({"include_usage": True, "include_obfuscation": False}, False, True, {"include_obfuscation": False}),
        ({"include_usage": True}, True, False, None),
        (None, False, False, None),
    ],
)
def test_usage_is_for_us_to_ask(options: Any, ask_usage: bool, stream: bool, sent: Any) -> None:
    got = forwarded(call_of(stream_options=options, stream=True), ask_usage=ask_usage, stream=stream)
    assert got.get("stream_options") == sent
    assert got["stream"] is stream


def test_everything_else_goes_as_it_came() -> None:
    members = b'"temperature":0.70,"seed":-0,"unknown":{"a": [1.0, 1e5, "\\u00e9\\/"]},"logit_bias":{"5":-100}'
    call = decode_call(json.dumps(BODY).encode()[:-1] + b"," + members + b"}", "req_1")
    sent = forward_body(call, model="m", limit=1, limit_field="max_tokens", ask_usage=True, stream=False)
    assert members in sent


def test_extra_members_replace_the_clients_and_never_ours() -> None:
    extra = {name: Raw(b"9") for name in ("temperature", "max_tokens", "max_completion_tokens", "n", "stream", "model")}
    extra |= {"stream_options": Raw(b"{}"), "tools": Raw(b'[{"google_search":{}}]')}
    sent = forwarded(call_of(temperature=1, n=2, tools=[]), extra=extra)
    assert sent == {
        "model": "upstream",
        "messages": [USER],
        "temperature": 9,
        "n": 2,
        "tools": [{"google_search": {}}],
        "max_tokens": 100,
        "stream": False,
    }


def test_forwarding_twice_is_the_same() -> None:
    call = call_of(n=2, stream=True, stream_options={"include_usage": True}, max_tokens=9)
    assert forwarded(call) == forwarded(call)


@pytest.mark.parametrize("name", sorted(STEERING))
def test_nothing_steers_the_upstream(name: str) -> None:
    for unknown in ("forward", "drop"):
        call = decode_call(json.dumps(BODY | {name: "http://evil"}).encode(), "req_1", unknown=unknown)
        assert name not in call.members
        assert name not in forwarded(call)
    found = refusal(json.dumps(BODY | {name: "x"}).encode(), unknown="reject")
    assert (found.code, found.param) == ("invalid_value", name)


def test_no_documented_field_steers() -> None:
    assert not STEERING & OPENAI_FIELDS.keys()


def test_unknown_fields_are_forwarded_dropped_or_refused() -> None:
    body = json.dumps(BODY | {"top_k": 5, "n": 3}).encode()
    table = {"model": Field(type="string"), "max_tokens": Field(type="integer")}
    assert forwarded(decode_call(body, "req_1"))["top_k"] == 5
    dropped = decode_call(body, "req_1", table=table, unknown="drop")
    assert (dropped.n, set(dropped.members)) == (1, {"model", "messages"})
    found = refusal(body, unknown="reject")
    assert (found.code, found.param) == ("invalid_value", "top_k")


def test_a_dropped_field_is_not_even_looked_at() -> None:
    body = json.dumps(BODY | {"n": "many", "stream": 7, "best_of": 9, "max_completion_tokens": "x"}).encode()
    table = {"model": Field(type="string"), "max_tokens": Field(type="integer")}
    call = decode_call(body, "req_1", table=table, unknown="drop")
    assert (call.n, call.stream, call.max_tokens) == (1, False, None)


def test_a_surfaces_defaults_are_counted_and_sent() -> None:
    table = dict(OPENAI_FIELDS) | {
        "max_tokens": Field(type="integer", minimum=1, default=1024),
        "parallel_tool_calls": Field(type="boolean", default=False, beside="tools"),
    }
    call = decode_call(json.dumps(BODY | {"tools": [{}], "max_tokens": None}).encode(), "req_1", table=table)
    assert call.max_tokens == 1024
    assert forwarded(call)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in decode_call(json.dumps(BODY).encode(), "req_1", table=table).members


# S26: a model's name is taken exactly as it is; what it means is for the catalog to say.
@pytest.mark.parametrize(
    "name",
    ["", "GPT-5.4-mini", "gpt-5․4-mini", "gрt-5.4-mini", "gpt\u200b-5", "a\x00b", "../x", "x" * 10_000, " m ", "m\n"],
)
def test_twins_of_model_names_stay_what_they_are(name: str) -> None:
    for ascii_only in (True, False):
        call = decode_call(json.dumps(BODY | {"model": name}, ensure_ascii=ascii_only).encode(), "req_1")
        assert call.model == name


def test_a_refusal_never_repeats_much_of_what_was_sent() -> None:
    for body in (
        json.dumps(BODY | {"messages": [{"role": "x" * 10_000, "content": "y"}]}),
        json.dumps(BODY)[:-1] + ',"' + "k" * 10_000 + '":1,"' + "k" * 10_000 + '":2}',
        json.dumps(BODY | {"temperature": "z" * 10_000}),
        json.dumps(BODY)[:-1] + ',"n":' + "9" * 4000 + "}",
    ):
        found = refusal(body.encode())
        assert len(found.message) < 300
        assert len(found.param or "") < 100


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    started = time.perf_counter()
    assert refusal(b'{"a":[' + b"{}," * 2_600_000 + b"1]}").code == "invalid_json"
    assert time.perf_counter() - started < 0.5
