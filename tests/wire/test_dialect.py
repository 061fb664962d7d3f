"""A dialect alone: configuration in, decoded calls, rewritten members, answers and refusals out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import RULES, Refusal
from streamrouter.wire.chat import Call
from streamrouter.wire.dialect import NO_CEILING, Dialect, field_table, identity_of, style_of
from streamrouter.wire.fields import OPENAI_FIELDS, InvalidFields
from streamrouter.wire.refusals import error_body, error_event, refusal_headers, refusal_status, statuses_of

USER = {"role": "user", "content": "Hi"}


def dialect(**keys: Any) -> Dialect:
    return Dialect(surface(**keys))


def surface(**keys: Any) -> SurfaceConfig:
    return msgspec.convert(keys, SurfaceConfig)


def decode(of: Dialect, **members: Any) -> Call:
    return of.decode(json.dumps({"model": "m", "messages": [USER], **members}).encode(), "req_1")


def refused(of: Dialect, **members: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        decode(of, **members)
    return raised.value


def members(call: Call) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in call.members.items()}


def fitted(of: Dialect, model: str = "m", defaults: dict[str, Any] | None = None, **sent: Any) -> dict[str, Any]:
    call = decode(of, **sent)
    of.fit(call, model, {name: Raw(json.dumps(value).encode()) for name, value in (defaults or {}).items()})
    return members(call)


def test_one_that_says_nothing_is_openais() -> None:
    plain = dialect()
    assert plain.table is OPENAI_FIELDS
    assert (plain.fits, plain.completes, plain.attempt_timeout_s, plain.default_max_tokens) == (
        False,
        False,
        None,
        None,
    )
    assert plain.ceiling == NO_CEILING
    assert (plain.id_in_header, plain.id_in_first_chunk) == (True, True)
    assert decode(plain, stream=True).stream
    assert members(decode(plain, invented=1))["invented"] == 1
    assert (plain.style.shape, dict(plain.style.statuses)) == ("openai", {})


def test_streaming() -> None:
    assert refused(dialect(streaming="reject"), stream=True).param == "stream"
    assert decode(dialect(streaming="reject"), stream=False).stream is False
    assert decode(dialect(streaming="single"), stream=True).stream is False
    with pytest.raises(InvalidFields):  # still a boolean
        decode(dialect(streaming="single"), stream="yes")


def test_fields_of_its_own_over_openais() -> None:
    of = dialect(fields={"temperature": {"type": "number", "maximum": 1.5}, "pace": {"type": "integer or string"}})
    assert refused(of, temperature=1.75).message.endswith("expected a value <= 1.5, but got 1.75.")
    assert refused(of, pace=True).code == "invalid_type"
    assert refused(of, top_p=2).code == "invalid_value"
    assert members(decode(of, pace="slow", temperature=1.5))["pace"] == "slow"
    whole = dialect(fields={"temperature": {"type": "number", "maximum": 2.0}})
    assert refused(whole, temperature=3).message.endswith("expected a value <= 2, but got 3.")


def test_only_its_own_fields() -> None:
    of = {"openai_fields": False, "fields": {"temperature": {"type": "number"}}}
    assert list(field_table(surface(**of))) == ["model", "messages", "temperature"]
    assert set(members(decode(dialect(**of, unknown_fields="drop"), n="x", seed=1, temperature=0))) == {
        "model",
        "messages",
        "temperature",
    }
    assert refused(dialect(**of, unknown_fields="reject"), seed=1).param == "seed"
    assert members(decode(dialect(**of), seed="anything"))["seed"] == "anything"


def test_defaults_of_fields() -> None:
    field = {"type": "boolean", "default": False, "beside": "tools"}
    of = dialect(fields={"parallel_tool_calls": field, "verbosity": {"type": "string", "default": "low"}})
    assert "parallel_tool_calls" not in members(decode(of))
    assert members(decode(of, tools=[{}]))["parallel_tool_calls"] is False
    assert members(decode(of))["verbosity"] == "low"
    assert members(decode(of, verbosity="high"))["verbosity"] == "high"


def test_roles() -> None:
    of = dialect(roles=["user"])
    assert refused(of, messages=[{"role": "system", "content": "x"}]).param == "messages[0].role"


@pytest.mark.parametrize("name", ["a/b", "a/b:1", "owner-1/name.2:v3"])
def test_owner_and_name(name: str) -> None:
    assert decode(dialect(model_names={"form": "owner/name"}), model=name).model == name


@pytest.mark.parametrize("name", ["a", "a/b/c", "/b", "a/", "a/b:", "a/b:c:d", " a/b", "a/b\n", ""])
def test_not_owner_and_name(name: str) -> None:
    fault = refused(dialect(model_names={"form": "owner/name"}), model=name)
    assert (fault.code, fault.param) == ("invalid_value", "model")


CONTENT = {"max_messages": 3, "max_message_chars": 4, "max_total_chars": 8}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (["1234", "1234"], None),
        (["1", "1", "1", "1"], "messages"),
        (["12345"], "messages[0].content"),
        (["1", "\U0001f600\U0001f600\U0001f600\U0001f600"], None),  # a code point each
        (["1234", "1234", "1"], "messages"),
        ([[{"type": "text", "text": "123"}, {"type": "text", "text": "45"}]], "messages[0].content"),
        ([[{"type": "text", "text": "1234"}, {"type": "image_url", "image_url": {"url": "data:long"}}]], None),
    ],
)
def test_how_much_may_be_said(messages: list[Any], param: str | None) -> None:
    of = dialect(content=CONTENT)
    assert of.fits
    sent = [{"role": "user", "content": content} for content in messages]
    if param is None:
        fitted(of, messages=sent)
        return
    with pytest.raises(Refusal) as raised:
        fitted(of, messages=sent)
    assert (raised.value.code, raised.value.param) == ("invalid_value", param)


def test_a_message_without_content_has_no_characters() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    fitted(dialect(content=CONTENT), messages=[USER, {"role": "assistant", "content": None, "tool_calls": calls}])
    fitted(dialect(content=CONTENT), messages=[USER, {"role": "assistant", "tool_calls": calls}])


PLUGINS = [
    {
        "id": "web",
        "models": ["g"],
        "send": {"tools": [{"search": {}}], "depth": 1},
        "not_with": {"response_format.type": ["json_schema"], "verbosity": ["low"]},
    },
    {"id": "mute", "not_with": {"verbosity": ["high"]}},
]


def test_a_plugin_becomes_what_the_model_calls_it() -> None:
    of = dialect(plugins=PLUGINS)
    web = [{"id": "web"}]
    assert fitted(of, "g", plugins=web) == {
        "model": "m",
        "messages": [USER],
        "tools": [{"search": {}}],
        "depth": 1,
    }
    assert fitted(of, "g", plugins=web, tools=[{"a": 1}], depth=7)["tools"] == [{"a": 1}, {"search": {}}]
    assert fitted(of, "g", plugins=web, depth=7)["depth"] == 1
    assert fitted(of, "g", plugins=web, tools=None)["tools"] == [{"search": {}}]
    assert fitted(of, "other", plugins=web)["plugins"] == web
    assert fitted(of, "g", plugins=[{"id": "x"}, *web])["plugins"] == [{"id": "x"}]


@pytest.mark.parametrize("plugins", [None, [], "web", {"id": "web"}, [1], [{"name": "web"}], [{"id": ["web"]}]])
def test_other_plugins_go_on_as_they_are(plugins: Any) -> None:
    sent = fitted(dialect(plugins=PLUGINS), "g", plugins=plugins)
    assert sent.get("plugins") == (plugins or (None if plugins is None else sent.get("plugins")))
    assert "tools" not in sent


def test_forbidden_combinations() -> None:
    of = dialect(plugins=PLUGINS)
    for beside in ({"response_format": {"type": "json_schema"}}, {"verbosity": "low"}):
        with pytest.raises(Refusal) as raised:
            fitted(of, "g", plugins=[{"id": "web"}], **beside)
        assert raised.value.code == "invalid_value"
        fitted(of, "other", plugins=[{"id": "web"}], **beside)
        fitted(of, "g", **beside)
    fitted(of, "g", plugins=[{"id": "web"}], response_format={"type": {"type": "json_schema"}})
    with pytest.raises(Refusal):
        fitted(of, "any", plugins=[{"id": "mute"}], verbosity="high")
    assert fitted(of, "any", plugins=[{"id": "mute"}])["plugins"] == [{"id": "mute"}]  # nothing else is sent for it


def test_defaults_of_a_model() -> None:
    tuned = {"temperature": 0.6, "stop": ["a"]}
    assert fitted(dialect(), defaults=tuned)["temperature"] == 0.6
    assert fitted(dialect(), defaults=tuned, temperature=0)["temperature"] == 0
    assert fitted(dialect(), defaults=tuned, stop=None)["stop"] == ["a"]


ANSWER = b'{"id":"up","choices":[{"index":0,"finish_reason":"tool_calls","x":1}],"model":"up","usage":null,"y": 1.50}'


def test_an_answer_that_is_relayed() -> None:
    told = dialect().answer(ANSWER, "public", "req_1", {}, None)
    assert json.loads(told)["model"] == "public"
    assert json.loads(told)["request_id"] == "req_1"
    assert json.loads(told)["choices"][0]["finish_reason"] == "tool_calls"
    assert b"1.50" in told
    without = dialect(request_id=["header"]).answer(ANSWER, "public", "req_1", {}, None)
    assert "request_id" not in json.loads(without)


def test_an_answer_that_is_completed() -> None:
    missing = identity_of("req_1", 1735689600)
    told = json.loads(dialect(answers="completed").answer(ANSWER, "m", "req_1", missing, Raw(b'{"total_tokens":3}')))
    assert (told["id"], told["object"], told["created"]) == ("up", "chat.completion", 1735689600)
    assert told["usage"] == {"total_tokens": 3}
    bare = json.loads(dialect().answer(b'{"choices":[],"id":null}', "m", "req_1", missing, None))
    assert bare["id"] == "chatcmpl-req_1"


@pytest.mark.parametrize(
    ("reason", "told"), [("length", "length"), ("tool_calls", "stop"), (None, "stop"), (7, "stop"), ("stop", "stop")]
)
def test_finish_reasons(reason: Any, told: str) -> None:
    of = dialect(streaming="single", finish_reasons={"length": "length", "*": "stop"})
    body = json.dumps({"choices": [{"index": 0, "finish_reason": reason}, {"index": 1}]}).encode()
    choices = json.loads(of.answer(body, "m", "r", {}, None))["choices"]
    assert [choice["finish_reason"] for choice in choices] == [told, "stop"]


def test_reasons_that_the_table_does_not_know_stay_without_a_rest() -> None:
    of = dialect(streaming="single", finish_reasons={"end": "stop"})
    body = b'{"choices":[{"finish_reason":"end"},{"finish_reason":"x"},{}]}'
    choices = json.loads(of.answer(body, "m", "r", {}, None))["choices"]
    assert choices == [{"finish_reason": "stop"}, {"finish_reason": "x"}, {}]


def test_statuses_by_code_and_by_status() -> None:
    found = statuses_of({"404": 400, "model_not_found": 410, "502": 500})
    assert (found["not_found"], found["model_not_found"]) == (400, 410)
    assert {code for code, rule in RULES.items() if rule.status == 502} <= set(found)
    style = style_of(surface(errors={"status": {"404": 400}}, balance_status=429))
    assert refusal_status(Refusal("not_found", ""), style=style) == 400
    assert refusal_status(Refusal("insufficient_balance", ""), style=style) == 429
    assert refusal_status(Refusal("invalid_api_key", ""), style=style) == 401
    both = style_of(surface(errors={"status": {"402": 400}}, balance_status=429))
    assert refusal_status(Refusal("insufficient_balance", ""), style=both) == 400


def test_detail_lists() -> None:
    of = dialect(errors={"shape": "detail"}, openai_fields=False, fields={"a": {"type": "integer"}})
    faults = refused(of, a="x", messages=[{"role": 1, "content": "x"}])
    assert json.loads(error_body(faults, "req_1", of.style)) == {
        "detail": [
            {
                "loc": ["body", "a"],
                "msg": "Invalid type for 'a': expected an integer, but got a string instead.",
                "type": "int_type",
            },
            {
                "loc": ["body", "messages", 0, "role"],
                "msg": "Invalid type for 'messages[0].role': expected a string, but got a number instead.",
                "type": "string_type",
            },
        ]
    }
    other = json.loads(error_body(Refusal("overloaded", "Later."), "req_1", of.style))
    assert other == {
        "detail": [{"loc": ["request"], "msg": "Later.", "type": "overloaded"}],
        "request_id": "req_1",
    }
    event = json.loads(error_event(Refusal("model_not_found", "No.", param="model"), "req_1", of.style)[6:])
    assert event["detail"][0]["loc"] == ["body", "model"]
    assert event["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("shape", ["openai", "detail"])
def test_where_the_request_id_stands(shape: str) -> None:
    style = style_of(surface(errors={"shape": shape}, request_id=["body"]))
    refusal = Refusal("overloaded", "Later.")
    assert b"req_1" not in error_body(refusal, "req_1", style)
    assert b"x-request-id" not in dict(refusal_headers(refusal, "req_1", style))
    everywhere = style_of(surface(errors={"shape": shape}))
    assert b"req_1" in error_body(refusal, "req_1", everywhere)
    assert dict(refusal_headers(refusal, "req_1", everywhere))[b"x-request-id"] == b"req_1"
