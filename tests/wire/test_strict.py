from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.errors import Refusal
from streamrouter.wire.fields import OPENAI_FIELDS
from streamrouter.wire.strict import MAX_VALUES, refuse_bombs, refuse_repeats, refuse_twins


def repeats(body: bytes) -> str | None:
    """The param of the refusal; "" if it names none; None if nothing repeats."""
    try:
        refuse_repeats(body, msgspec.json.decode(body))
    except Refusal as refusal:
        assert refusal.code == "invalid_value"
        return refusal.param or ""
    return None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"n":1,"n":1}', "n"),
        (b'{ "n" : 1 , "n" : 1 }', "n"),
        (b'{"max_tokens":1,"a":{},"max_tokens":9}', "max_tokens"),
        (b'{"n":1,"\\u006e":2}', "n"),
        (b'{"\\u006e":1,"n":2}', "n"),
        (b'{"messages":[{"role":"user"},{"role":"user","content":"a","content":"b"}]}', "messages[1].content"),
        (b'{"messages":[{"content":[{"type":"text","text":"a","text":""}]}]}', "messages[0].content[0].text"),
        (b'{"tools":[{"function":{"parameters":{"a":{"b":1,"b":1}}}}]}', "tools[0].function.parameters.a.b"),
        (b'{"stream_options":{"include_usage":true,"include_usage":false}}', "stream_options.include_usage"),
        (b'{"":1,"":1}', ""),
        (b'{"a\\"b":1,"a\\"b":1}', 'a"b'),
        (b'{"x":1e5,"y":{"k":1,"k":2}}', "y.k"),
        ('{"é":1,"\\u00e9":2}'.encode(), "é"),
    ],
)
def test_a_key_that_repeats_is_named(body: bytes, param: str) -> None:
    assert repeats(body) == param


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a":1,"b":1}',
        b'{"a":{"a":{"a":1}}}',
        b'{"a":[{"a":1},{"a":1}]}',
        b'{"a":":","b":"\\":","c":"\\\\","d":"\\\\\\":"}',
        b'{"a": "x: y", "b": "{\\"a\\":1,\\"a\\":1}"}',
        b'{"a":"\\u00e9\\/\\u0022:\\n","b":1e5,"c":1.50}',
        b'{\n\t"a" :\r\n1}',
        b'{"a\\\\":1,"a":"\\\\"}',
        '{"é":1,"e\\u0301":2}'.encode(),
    ],
)
def test_what_only_looks_like_a_repeat_passes(body: bytes) -> None:
    assert repeats(body) is None


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may repeat."""


keys = st.sampled_from(["a", "b", "a:", 'a"', "a\\", "\\", "é", "", " "])
trees = st.recursive(
    st.one_of(
        st.integers(-9, 9),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        keys,
        st.none(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(keys, inner), max_size=3).map(Pairs)),
    max_leaves=12,
)


def text_of(value: Any, ascii_only: bool, space: str) -> str:
    if isinstance(value, Pairs):
        members = (
            f"{json.dumps(k, ensure_ascii=ascii_only)}{space}:{space}{text_of(v, ascii_only, space)}" for k, v in value
        )
        return "{" + f"{space},".join(members) + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(text_of(v, ascii_only, space) for v in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def has_repeats(value: Any) -> bool:
    if isinstance(value, Pairs):
        names = [key for key, _ in value]
        return len(set(names)) < len(names) or any(has_repeats(item) for _, item in value)
    return isinstance(value, list) and any(has_repeats(item) for item in value)


@given(
    members=st.lists(st.tuples(keys, trees), max_size=4),
    ascii_only=st.booleans(),
    space=st.sampled_from(["", " ", "\n"]),
)
def test_exactly_the_texts_with_repeats_are_refused(members: Any, ascii_only: bool, space: str) -> None:
    tree = Pairs(members)
    body = text_of(tree, ascii_only, space).encode()
    assert (repeats(body) is not None) == has_repeats(tree)


def test_a_repeat_in_a_large_text_is_refused_without_its_name() -> None:
    filler = b'"x":"' + b"y" * 200_000 + b'"'
    assert repeats(b'{"n":1,' + filler + b',"n":1}') == ""
    assert repeats(b'{"n":1,' + filler + b"}") is None


def test_numbers_and_depths_that_readers_disagree_on() -> None:
    for number in (10**400, 2**64, -(2**63) - 1):
        with pytest.raises(Refusal, match="64 bits"):
            refuse_repeats(b"", {"x": {"y": [number]}})
    refuse_repeats(b'{"x":18446744073709551615}', {"x": 2**64 - 1})
    deep = b'{"a":' + b"[" * 400 + b"]" * 400 + b"}"
    with pytest.raises(Refusal, match="deeply") as refused:
        refuse_repeats(deep, msgspec.json.decode(deep))
    assert refused.value.code == "invalid_json"


def twins(tree: dict[str, Any]) -> str | None:
    try:
        refuse_twins(tree, OPENAI_FIELDS, {"api_base"})
    except Refusal as refusal:
        assert refusal.code == "invalid_value"
        return refusal.param
    return None


@pytest.mark.parametrize(
    ("tree", "param"),
    [
        ({"Max_Tokens": 1}, "Max_Tokens"),
        ({"max_tokens": 1, "MAX_TOKENS": 2}, "MAX_TOKENS"),
        ({"max_to\u212aens": 1}, "max_to\u212aens"),  # the Kelvin sign: Go takes it for a k
        ({"\u017ftream": True}, "\u017ftream"),  # the long s
        ({"N": 1}, "N"),
        ({"API_Base": "x"}, "API_Base"),
        ({"messages": [{"Role": "user"}]}, "messages[0].Role"),
        ({"messages": [{}, {"role": "user", "Content": "x"}]}, "messages[1].Content"),
        ({"messages": [{"content": [{"type": "text", "TEXT": "x"}]}]}, "messages[0].content[0].TEXT"),
        ({"messages": [{"content": [{"image_url": {"Url": "x"}}]}]}, "messages[0].content[0].image_url.Url"),
        ({"messages": [{"tool_calls": [{"function": {"Name": "x"}}]}]}, "messages[0].tool_calls[0].function.Name"),
        ({"tools": [{"function": {"Parameters": {}}}]}, "tools[0].function.Parameters"),
        ({"stream_options": {"Include_Usage": True}}, "stream_options.Include_Usage"),
    ],
)
def test_a_known_field_in_other_letters_is_named(tree: dict[str, Any], param: str) -> None:
    assert twins(tree) == param


@pytest.mark.parametrize(
    "tree",
    [
        {"model": "M", "Unknown": 1, "max_tokens_": 1, "messages": "Role", "tools": [1, [{"Type": 1}]]},
        {"tools": [{"type": "function", "function": {"parameters": {"Name": 1, "name": 1, "Type": 1}}}]},
        {"metadata": {"Model": "x"}, "logit_bias": {"N": 1}},
        {"messages": [{"role": "user", "content": "x", "Extra": 1, "reasoning_details": [{"Type": 1}]}]},
    ],
)
def test_other_keys_may_have_any_letters(tree: dict[str, Any]) -> None:
    assert twins(tree) is None


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" + b"1," * 4_000_000 + b"1]",
        b"[" + b"{}," * 2_500_000 + b"{}]",
        b"[" + b'"",' * 2_500_000 + b'""]',
        b"[" + b"[[[[[]]]]]," * 700_000 + b"1]",
        b"{" + b'"a":1,' * 1_300_000 + b'"a":1}',
        b'["' + b'\\"' * 4_000_000 + b'"]',
    ],
    ids=lambda bomb: repr(bomb[:12]),
)
def test_a_text_that_is_all_structure_is_refused_before_it_is_decoded(bomb: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(Refusal, match="JSON values"):
        refuse_bombs(bomb)
    assert time.perf_counter() - started < 0.5  # measured: 5 to 20 ms


def test_a_large_text_that_is_text_passes() -> None:
    refuse_bombs(b'{"a":"' + b"x, y: [z] {w} " * 400_000 + b'"}')
    refuse_bombs(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")
