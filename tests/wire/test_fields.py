from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from streamrouter.errors import Refusal
from streamrouter.wire.fields import (
    MOST_FAULTS,
    OPENAI_FIELDS,
    Fault,
    Field,
    FieldTable,
    InvalidFields,
    check,
    defaults,
    missing,
    param_of,
)

REQUEST = {"model": "m", "messages": [{}]}


def faults(**fields: Any) -> list[tuple[str, str]]:
    return [(fault.param, fault.code) for fault in check(REQUEST | fields, OPENAI_FIELDS)]


GOOD: dict[str, list[Any]] = {
    "temperature": [0, 2, 0.7, 2.0, 1e-9],
    "top_p": [0, 1, 0.5],
    "presence_penalty": [-2, 2, 0.0],
    "frequency_penalty": [-2.0, 1.5],
    "n": [1, 128],
    "top_logprobs": [0, 20],
    "max_tokens": [1, 2**63 - 1],
    "max_completion_tokens": [1],
    "stop": ["x", [], ["a", "b", "c", "d"]],
    "seed": [0, -1, -(2**63), 2**63 - 1],
    "stream": [True, False],
    "logprobs": [True],
    "tools": [[], [{}] * 128],
    "tool_choice": ["auto", {"type": "function"}],
    "reasoning_effort": ["none", "a new one"],
    "modalities": [["text", "audio"]],
    "logit_bias": [{}, {"50256": -100}],
    "metadata": [{"a": "b"}],
    "audio": [{"voice": "alloy", "format": "wav"}],
    "user": ["", "x"],
    "unheard_of": [1, "x", [], {}, None, 10**400],
}
BAD: dict[str, list[Any]] = {
    "temperature": [-0.1, 2.1, 10**400, -(10**400), 1e300],
    "top_p": [1.01, -1],
    "presence_penalty": [-3, 2.5],
    "n": [0, -1, 129, 2**63],
    "top_logprobs": [-1, 21],
    "max_tokens": [0, -1, 2**63, 10**400],
    "max_completion_tokens": [0],
    "stop": [["a"] * 5],
    "seed": [2**63, -(2**63) - 1],
    "tools": [[{}] * 129],
    "functions": [[]],
}
WRONG_TYPE: dict[str, list[Any]] = {
    "temperature": ["1", True, [], {}],
    "n": [1.0, "1", True, 1e3],
    "max_tokens": [10.0, "10", False, [10], {"a": 1}],
    "seed": [1.5],
    "stream": [1, 0, "true", []],
    "stop": [1, {}, False],
    "tools": [{}, "x"],
    "user": [1],
    "logit_bias": [[]],
    "stream_options": [True, []],
    "tool_choice": [1, True],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values], ids=str
)
def test_documented_values_pass(name: str, value: Any) -> None:
    assert faults(**{name: value}) == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_values_out_of_range(name: str, value: Any) -> None:
    assert faults(**{name: value}) == [(name, "invalid_value")]


@pytest.mark.parametrize(("name", "value"), [(n, value) for n, values in WRONG_TYPE.items() for value in values])
def test_values_of_another_type(name: str, value: Any) -> None:
    assert faults(**{name: value}) == [(name, "invalid_type")]


@pytest.mark.parametrize("name", [name for name in OPENAI_FIELDS if name not in REQUEST])
def test_null_is_absent_for_every_optional_field(name: str) -> None:
    assert faults(**{name: None}) == []


def test_what_is_required_must_be_there_and_not_null() -> None:
    assert [fault.param for fault in check({}, OPENAI_FIELDS)] == ["model", "messages"]
    assert {fault.code for fault in check({}, OPENAI_FIELDS)} == {"missing_required_parameter"}
    assert faults(model=None) == [("model", "invalid_type")]
    assert faults(messages=[]) == [("messages", "invalid_value")]


def test_the_element_at_fault_is_named() -> None:
    assert faults(stop=["a", 1]) == [("stop[1]", "invalid_type")]
    assert faults(tools=[{}, {}, None]) == [("tools[2]", "invalid_type")]


def test_all_faults_come_at_once_in_the_order_of_the_table() -> None:
    table = {"a": Field(type="integer"), "b": Field(type="string", required=True), "c": Field(type="boolean")}
    found = check({"c": 1, "y": 1, "a": "x", "z": 1}, table, "reject")
    assert [(fault.loc, fault.kind) for fault in found] == [
        (("a",), "int_type"),
        (("b",), "missing"),
        (("c",), "bool_type"),
        (("y",), "extra_forbidden"),
        (("z",), "extra_forbidden"),
    ]


def test_unknown_fields_are_faults_only_where_they_are_rejected() -> None:
    assert check({"x": 1}, {}, "forward") == check({"x": 1}, {}, "drop") == []
    assert len(check({f"x{i}": 1 for i in range(10_000)}, {}, "reject")) == MOST_FAULTS


def test_a_field_that_is_not_nullable_refuses_null() -> None:
    assert check({"a": None}, {"a": Field(type="any", nullable=False)})[0].code == "invalid_type"
    assert check({"a": None}, {"a": Field(type="any")}) == []


def test_choices() -> None:
    table = {"a": Field(type=("string", "boolean"), choices=("x", "y"))}
    assert check({"a": "x"}, table) == check({"a": True}, table) == []
    (fault,) = check({"a": "z" * 10_000}, table)
    assert (fault.code, fault.kind) == ("invalid_value", "literal_error")
    assert len(fault.message) < 200


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {"a": 1024}),
        ({"a": None}, {"a": 1024}),
        ({"a": 0}, {}),
        ({"t": []}, {"a": 1024, "p": False}),
        ({"t": None}, {"a": 1024}),
    ],
)
def test_defaults_are_sent_where_nothing_is_said(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    table = FieldTable(
        {"a": Field(type="integer", default=1024), "p": Field(type="boolean", default=False, beside="t")}
    )
    assert defaults(fields, table) == sent
    assert defaults(fields, dict(table)) == sent


def test_a_table_is_made_once() -> None:
    assert FieldTable.of(OPENAI_FIELDS) is OPENAI_FIELDS
    assert FieldTable.of({"a": Field(type="any", required=True)}).required == ["a"]


def test_a_field_can_be_said_in_a_config_file() -> None:
    told = {"type": ["string", "array"], "max_items": 4, "minimum": 0, "default": "x"}
    assert msgspec.convert(told, Field).type == ("string", "array")
    assert msgspec.convert({"type": "integer"}, Field).type == "integer"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "integer", "minimun": 0}, Field)


def test_params_are_written_as_openai_writes_them() -> None:
    assert param_of(("messages", 0, "content", 2, "text")) == "messages[0].content[2].text"
    assert param_of(("x" * 1000,)) == "x" * 64


def test_the_refusal_is_that_of_the_first_fault() -> None:
    found = [missing(("model",)), Fault(("n",), "invalid_type", "no", "int_type")]
    with pytest.raises(Refusal) as refused:
        raise InvalidFields(found)
    assert refused.value.rule.status == 400
    assert (refused.value.code, refused.value.param) == ("missing_required_parameter", "model")
    assert isinstance(refused.value, InvalidFields)
    assert refused.value.faults == found


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 3}, "Invalid value for 'temperature': expected a value <= 2, but got 3."),
        ({"n": "1"}, "Invalid type for 'n': expected an integer, but got a string instead."),
        ({"stop": 1}, "Invalid type for 'stop': expected a string or an array, but got a number instead."),
        ({"model": None}, "Invalid type for 'model': expected a string, but got null instead."),
    ],
    ids=json.dumps,
)
def test_messages_say_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    assert check(REQUEST | fields, OPENAI_FIELDS)[0].message == message
