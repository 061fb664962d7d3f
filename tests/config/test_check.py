from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, inspect

from streamrouter.config.check import check, describe, did_you_mean
from streamrouter.config.expand import Given
from streamrouter.config.load import BUILT_IN
from streamrouter.config.locate import dotted
from streamrouter.config.schema import Config

Port = Annotated[int, Meta(ge=0, le=65535)]
Ratio = Annotated[float, Meta(gt=0)]


def faults_of(value: Any, kind: Any) -> tuple[Any, list[str]]:
    faults: list[str] = []
    out = check(
        value, inspect.type_info(kind), lambda path, what: faults.append(f"{dotted(path)}: {what}".lstrip(": "))
    )
    return out, faults


@pytest.mark.parametrize(
    ("value", "kind", "out"),
    [
        (5, Port, 5),
        (5, float, 5),
        (True, bool, True),
        ("a", Literal["a", "b"], "a"),
        (402, Literal[402, 429], 402),
        (["a"], list[str] | None, ["a"]),
        (Given("8000", "${P}"), Port, 8000),
        (Given(" 2.5 ", "${P}"), Ratio, 2.5),
        (Given("TRUE", "${P}"), bool, True),
        (Given("0", "${P}"), bool | None, False),
        (Given("429", "${P}"), Literal[402, 429], 429),
        (Given("abc", "${P}"), str, "abc"),
    ],
)
def test_what_fits_comes_out_plain(value: Any, kind: Any, out: Any) -> None:
    result, faults = faults_of(value, kind)
    assert faults == []
    assert result == out
    assert not isinstance(result, Given)


@pytest.mark.parametrize(
    ("value", "kind", "fault"),
    [
        (True, Port, "expected an integer from 0 to 65535, got true"),
        ("5", Port, 'expected an integer from 0 to 65535, got "5"'),
        (5.0, Port, "expected an integer from 0 to 65535, got 5.0"),
        (Given("x", "${P}"), Port, "expected an integer from 0 to 65535, got the value of ${P}"),
        (Given("9" * 30, "${P}"), Port, "expected an integer from 0 to 65535, got the value of ${P}"),
        (float("nan"), Ratio, "expected a number above 0, got nan"),
        (0, Ratio, "expected a number above 0, got 0"),
        (1, bool, "expected true or false, got 1"),
        ("C", Literal["ca", "b"], 'expected one of "b", "ca", got "C"; did you mean "ca"?'),
        (True, Literal[1, 2], "expected one of 1, 2, got true"),
        ("x", list[str], 'expected a list, got "x"'),
        (["x" * 40], str, "expected a string, got a list"),
        ("x" * 40, Port, "expected an integer from 0 to 65535, got a string of 40 characters"),
    ],
)
def test_what_does_not_fit_is_said_in_words(value: Any, kind: Any, fault: str) -> None:
    assert faults_of(value, kind)[1] == [fault]


class _Inner(Struct):
    needed: int
    api_key: str = ""


class _Outer(Struct):
    inner: dict[str, _Inner]
    many: list[_Inner] = []


def test_every_fault_is_found_and_the_rest_is_kept() -> None:
    value = {"inner": {"a": {"needed": "x", "api_key": 5}, "b": {}}, "many": [{"needed": 1}, 7], "more": 1}
    out, faults = faults_of(value, _Outer)
    assert faults == [
        'inner.a.needed: expected an integer, got "x"',
        "inner.a.api_key: expected a string, got a number",
        "inner.b.needed: missing; expected an integer",
        "many[1]: expected a table, got 7",
        "more: unknown key; known here: inner, many",
    ]
    assert out["many"][0] == {"needed": 1}


def test_the_nearest_known_name() -> None:
    assert did_you_mean("Base_Pth", ["base_path", "host"]) == "did you mean base_path?"
    assert did_you_mean("zzz", ["base_path", "host"]) == "known here: base_path, host"
    assert did_you_mean("zzz", []) == "there are none here"
    assert did_you_mean("zzz", [f"n{number}" for number in range(30)]).endswith("n15, …")


def test_it_agrees_with_msgspec_about_the_shipped_file() -> None:
    value = tomllib.loads(BUILT_IN.read_text())
    out, faults = faults_of(value, Config)
    assert faults == []
    assert msgspec.convert(out, Config) == msgspec.convert(value, Config)


def test_every_pattern_of_the_schema_has_words() -> None:
    bare: list[str] = []

    def walk(kind: inspect.Type, path: str) -> None:
        match kind:
            case inspect.StructType(fields=fields):
                for field in fields:
                    walk(field.type, f"{path}.{field.name}")
            case inspect.DictType(key_type=key, value_type=inner):
                walk(key, path)
                walk(inner, path)
            case inspect.ListType(item_type=inner):
                walk(inner, path)
            case inspect.UnionType(types=types):
                for each in types:
                    walk(each, path)
            case inspect.StrType(pattern=str()):  # a described one is wrapped in Metadata and not reached
                bare.append(path)

    walk(inspect.type_info(Config), "")
    assert bare == []
    assert describe(inspect.type_info(Config)) == "a table"
