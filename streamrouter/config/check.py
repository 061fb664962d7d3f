"""A parsed file against the tree of Structs: every fault at once, each in words for the one who wrote the file.

``msgspec.convert`` stops at the first fault and speaks in types; this walks the same type description and goes on.
What it returns has no fault and holds plain values (strings from the environment made into the numbers they stand for).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

from streamrouter.config.expand import Given, Report
from streamrouter.config.locate import Path

_SECRET = {"api_key", "headers"}
_LONGEST_SHOWN = 20  # characters: shorter than any provider's key, so that a key in a wrong place is not shown
_MOST_KEYS_LISTED = 16
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean NAME?`` with the nearest of ``known``, or the known ones where none is near."""
    choices = list(known)
    near = get_close_matches(word.lower(), choices, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    if not choices:
        return "there are none here"
    listed = ", ".join(choices[:_MOST_KEYS_LISTED])
    return f"known here: {listed}" + (", …" if len(choices) > _MOST_KEYS_LISTED else "")


def check(value: Any, expected: inspect.Type, report: Report, path: Path = (), about: str = "") -> Any:
    """``value`` as plain data that fits ``expected``; what does not fit is reported at its path and left out."""
    match expected:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return check(value, inner, report, path, str((schema or {}).get("description", about)))
        case inspect.UnionType(types=types):  # only ever "something or None", and TOML has no null
            inner = next(kind for kind in types if not isinstance(kind, inspect.NoneType))
            return check(value, inner, report, path, about)
        case inspect.StructType() if isinstance(value, dict):
            return _table(value, expected, report, path)
        case inspect.DictType() if isinstance(value, dict):
            return _mapping(value, expected, report, path)
        case inspect.ListType(item_type=item) if isinstance(value, list):
            return [check(each, item, report, (*path, number)) for number, each in enumerate(value)]
        case inspect.AnyType():
            return _json(value, report, path)
    return _scalar(value, expected, report, path, about)


def _table(value: dict[str, Any], expected: inspect.StructType, report: Report, path: Path) -> dict[str, Any]:
    fields = {field.name: field for field in expected.fields}
    out = {}
    for key, item in value.items():
        if key in fields:
            out[key] = check(item, fields[key].type, report, (*path, key))
        else:
            report((*path, key), f"unknown key; {did_you_mean(key, fields)}")
    for name, field in fields.items():
        if field.required and name not in value:
            report((*path, name), f"missing; expected {describe(field.type)}")
    return out


def _mapping(value: dict[str, Any], expected: inspect.DictType, report: Report, path: Path) -> dict[str, Any]:
    out = {}
    for key, item in value.items():
        if key == check(key, expected.key_type, report, (*path, key)):
            out[key] = check(item, expected.value_type, report, (*path, key))
    return out


def _json(value: Any, report: Report, path: Path) -> Any:
    """``value`` as JSON can say it: what is sent on as it stands has no type here (TOML's dates are none of JSON's)."""
    match value:
        case dict():
            return {key: _json(item, report, (*path, key)) for key, item in value.items()}
        case list():
            return [_json(item, report, (*path, number)) for number, item in enumerate(value)]
        case bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return str(value)
    report(path, f"expected a value that JSON knows, got {_shown(value, path)}")
    return None


def _scalar(value: Any, expected: inspect.Type, report: Report, path: Path, about: str) -> Any:
    plain = _from_environment(value, expected) if isinstance(value, Given) else value
    if _fits(plain, expected):
        return plain
    hint = ""
    if isinstance(expected, inspect.LiteralType) and isinstance(value, str) and not isinstance(value, Given):
        near = get_close_matches(value.lower(), [str(choice) for choice in expected.values], n=1, cutoff=0.5)
        hint = f'; did you mean "{near[0]}"?' if near else ""
    report(path, f"expected {about or describe(expected)}, got {_shown(value, path)}{hint}")
    return None


def _from_environment(value: Given, expected: inspect.Type) -> Any:
    """A string from the environment as the number or truth value that is expected, else as the string it is."""
    text = value.strip()
    match expected:
        case inspect.IntType() | inspect.LiteralType() if _INTEGER.fullmatch(text):
            return int(text)
        case inspect.FloatType() if _NUMBER.fullmatch(text):
            return float(text)
        case inspect.BoolType():
            return _BOOLEANS.get(text.lower(), str(value))
    return str(value)


def _fits(value: Any, expected: inspect.Type) -> bool:
    match expected:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.LiteralType(values=values):
            return any(value == choice and type(value) is type(choice) for choice in values)
        case inspect.IntType():
            return type(value) is int and _in_range(value, expected)
        case inspect.FloatType():
            return type(value) in (int, float) and math.isfinite(value) and _in_range(value, expected)
        case inspect.StrType(pattern=pattern):
            return isinstance(value, str) and (pattern is None or re.search(pattern, value) is not None)
    return False


def _in_range(value: float, expected: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (expected.gt is None or value > expected.gt)
        and (expected.ge is None or value >= expected.ge)
        and (expected.lt is None or value < expected.lt)
        and (expected.le is None or value <= expected.le)
    )


def describe(expected: inspect.Type) -> str:
    """What is expected, in words: ``an integer from 0 to 65535``, ``one of "full", "normal"``."""
    match expected:
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            return str((schema or {}).get("description") or describe(inner))
        case inspect.UnionType(types=types):
            return describe(next(kind for kind in types if not isinstance(kind, inspect.NoneType)))
        case inspect.IntType():
            return "an integer" + _range(expected)
        case inspect.FloatType():
            return "a number" + _range(expected)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        case inspect.ListType(item_type=item):
            return "a list of tables" if isinstance(item, inspect.StructType) else "a list"
        case inspect.StructType() | inspect.DictType():
            return "a table"
    return "a string"


def _range(expected: inspect.IntType | inspect.FloatType) -> str:
    if expected.gt is not None:
        return f" above {expected.gt}" + (f" and up to {expected.le:.17g}" if expected.le is not None else "")
    if expected.ge is None:
        return ""
    return f" from {expected.ge} to {expected.le:.17g}" if expected.le is not None else f" of at least {expected.ge}"


def _shown(value: Any, path: Path) -> str:
    """What stands there, as far as it may be seen: never a secret, nor what might be one."""
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case list():
            return "a list"
    if any(step in _SECRET for step in path):
        return "a string" if isinstance(value, str) else "a number"
    if isinstance(value, Given):
        return f"the value of {value.written[:80]}"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _LONGEST_SHOWN else f"a string of {len(value)} characters"
    return str(value)[:40]
