from __future__ import annotations

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from streamrouter.wire.chat import STEERING, decode_call, forward_body
from streamrouter.wire.fields import OPENAI_FIELDS, Field
from tests.wire.calls import BODY, USER, call_of, forwarded, refusal

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
