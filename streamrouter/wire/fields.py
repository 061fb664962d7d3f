"""Request fields as data: what a dialect's document says of each field, and the one engine that checks it.

A dialect is a table of ``Field``; there is no code per dialect. All faults are found in one pass, in the order of the
table, so that a surface can answer with all of them at once.

``null`` stands for "absent" wherever a field is not required, as it does at OpenAI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from streamrouter.errors import Refusal

Kind = Literal["string", "integer", "number", "boolean", "array", "object", "any"]
Unknown = Literal["forward", "drop", "reject"]
Loc = tuple[str | int, ...]

# What is not between these is no number that upstreams and SQLite hold.
INTEGER_BOUND: Final = 1 << 63
_SHOWN_CHARS: Final = 64
MOST_FAULTS: Final = 100  # no answer names more: to write each of a million down would be an attack on us

_PYTHON_TYPES: Final[dict[type, str]] = {
    bool: "boolean",
    dict: "object",
    float: "number",
    int: "number",
    list: "array",
    str: "string",
    type(None): "null",
}
_ARTICLES: Final[dict[str, str]] = {"integer": "an integer", "array": "an array", "object": "an object", "null": "null"}
_PYDANTIC: Final[dict[str, str]] = {
    "string": "string_type",
    "integer": "int_type",
    "number": "float_type",
    "boolean": "bool_type",
    "array": "list_type",
    "object": "dict_type",
}


class Field(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One documented field. ``type`` is one JSON type or several; ``number`` includes integers.

    ``minimum`` and ``maximum`` bound a number, ``choices`` and ``pattern`` a string (``form`` tells people what the
    pattern means), ``min_items``, ``max_items`` and ``items`` (the type of every element) an array. ``default`` is what
    is *sent on* when the field is absent; with ``beside`` only next to another field that is present.
    """

    type: Kind | tuple[Kind, ...]
    required: bool = False
    nullable: bool = True
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[str, ...] | None = None
    min_items: int | None = None
    max_items: int | None = None
    items: Literal["string", "number", "boolean", "array", "object"] | None = None
    default: Any = None
    beside: str | None = None
    pattern: str | None = None
    form: str = ""


class Fault(Struct, frozen=True):
    """One thing that is wrong with a request. ``kind`` is its name in a ``detail`` list (pydantic's vocabulary)."""

    loc: Loc
    code: Literal["missing_required_parameter", "invalid_type", "invalid_value"]
    message: str
    kind: str

    @property
    def param(self) -> str:
        """Where it is, as OpenAI writes it: ``messages[0].role``."""
        return param_of(self.loc)


class InvalidFields(Refusal):
    """A request with one fault or more: the refusal is that of the first one, ``faults`` has them all."""

    def __init__(self, faults: list[Fault]) -> None:
        first = faults[0]
        super().__init__(first.code, first.message, param=first.param)
        self.faults = faults


def param_of(loc: Loc) -> str:
    """``("messages", 0, "role")`` as ``messages[0].role``; a client's own key is cut at 64 characters."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:_SHOWN_CHARS]}" for step in loc)
    return "".join(steps).removeprefix(".")


def missing(loc: Loc) -> Fault:
    """A required field that is not there."""
    return Fault(loc, "missing_required_parameter", f"Missing required parameter: '{param_of(loc)}'.", "missing")


def wrong_type(loc: Loc, expected: Kind | tuple[Kind, ...], got: str) -> Fault:
    """A value of another JSON type than documented; ``got`` is a JSON type."""
    kinds = (expected,) if isinstance(expected, str) else expected
    wanted = " or ".join(map(_with_article, kinds))
    message = f"Invalid type for '{param_of(loc)}': expected {wanted}, but got {_with_article(got)} instead."
    return Fault(loc, "invalid_type", message, _PYDANTIC.get(kinds[0], "value_error"))


def wrong_value(loc: Loc, message: str, kind: str = "value_error") -> Fault:
    """A value of the right type that is not allowed; ``message`` says what is, and ends the sentence."""
    return Fault(loc, "invalid_value", f"Invalid value for '{param_of(loc)}': {message}", kind)


def type_of(value: Any) -> str:
    """The JSON type of a decoded value."""
    return _PYTHON_TYPES[type(value)]


class FieldTable(dict[str, Field]):
    """A table that knows which of its fields to look for when they are not there, and which values (``plain``, by
    their types) are right without a second look. Not changed once it is made.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__(fields)
        self.required = [name for name, field in fields.items() if field.required]
        self.defaults = {name: field for name, field in fields.items() if field.default is not None}
        self.plain = {name: _plain_types(field) for name, field in fields.items()}

    @classmethod
    def of(cls, table: Mapping[str, Field]) -> FieldTable:
        """``table`` itself if it is one already."""
        return table if isinstance(table, cls) else cls(table)


def check(fields: Mapping[str, Any], table: Mapping[str, Field], unknown: Unknown = "forward") -> list[Fault]:
    """Every fault of ``fields`` by ``table``, in the order of the table; then, for ``reject``, the unknown fields.

    ``fields`` are the decoded members of a JSON object. ``drop`` is for the caller to carry out.
    """
    table = FieldTable.of(table)
    faults = [missing((name,)) for name in table.required if name not in fields]
    strangers: list[Fault] = []
    plain = table.plain
    for name, value in fields.items():
        if type(value) in plain.get(name, ()):
            continue
        field = table.get(name)
        if field is not None:
            fault = _check_field(name, value, field)
            if fault is not None:
                faults.append(fault)
        elif unknown == "reject" and len(strangers) < MOST_FAULTS:
            message = f"Unknown parameter: '{param_of((name,))}'."
            strangers.append(Fault((name,), "invalid_value", message, "extra_forbidden"))
    if len(faults) > 1:
        order = list(table)
        faults.sort(key=lambda fault: order.index(str(fault.loc[0])))
    return faults + strangers


def defaults(fields: Mapping[str, Any], table: Mapping[str, Field]) -> dict[str, Any]:
    """The fields that go upstream although the client did not name them (or wrote ``null``), with their values."""
    return {
        name: field.default
        for name, field in FieldTable.of(table).defaults.items()
        if fields.get(name) is None and (not field.beside or fields.get(field.beside) is not None)
    }


def _plain_types(field: Field) -> frozenset[type]:
    """Of which types a value is right whatever it is."""
    expected = (field.type,) if isinstance(field.type, str) else field.type
    worded = field.choices is not None or field.pattern is not None
    sure = {"boolean", "object"} if worded else {"boolean", "object", "string"}
    return frozenset(kind for kind, name in _PYTHON_TYPES.items() if name in sure.intersection(expected))


def _with_article(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


def _check_field(name: str, value: Any, field: Field) -> Fault | None:
    got, expected = type_of(value), field.type
    if value is None:
        return None if field.nullable and not field.required else wrong_type((name,), expected, got)
    if expected == "any":
        return None
    if got == "number":
        return _check_number(name, value, field)
    if got not in expected:  # of one name or of several: no type's name is part of another's
        return wrong_type((name,), expected, got)
    if field.choices is not None and got == "string" and value not in field.choices:
        return wrong_value((name,), f"expected one of {', '.join(field.choices)}.", "literal_error")
    if field.pattern is not None and got == "string" and re.fullmatch(field.pattern, value) is None:
        return wrong_value((name,), f"expected {field.form}.", "string_pattern_mismatch")
    return _check_items(name, value, field) if got == "array" else None


def _check_number(name: str, value: int | float, field: Field) -> Fault | None:
    loc = (name,)
    if "number" not in field.type:
        if "integer" not in field.type:
            return wrong_type(loc, field.type, "number")
        if type(value) is float:
            return wrong_type(loc, field.type, "number with a fraction")
    if not -INTEGER_BOUND <= value < INTEGER_BOUND:
        return wrong_value(loc, "the number does not fit 64 bits.", "finite_number")
    if field.minimum is not None and value < field.minimum:
        return wrong_value(loc, f"expected a value >= {field.minimum}, but got {value}.", "greater_than_equal")
    if field.maximum is not None and value > field.maximum:
        return wrong_value(loc, f"expected a value <= {field.maximum}, but got {value}.", "less_than_equal")
    return None


def _check_items(name: str, items: list[Any], field: Field) -> Fault | None:
    if field.min_items is not None and len(items) < field.min_items:
        return wrong_value((name,), f"expected at least {field.min_items} items, but got {len(items)}.", "too_short")
    if field.max_items is not None and len(items) > field.max_items:
        return wrong_value((name,), f"expected at most {field.max_items} items, but got {len(items)}.", "too_long")
    if field.items is not None:
        for index, item in enumerate(items):
            if type_of(item) != field.items:
                return wrong_type((name, index), field.items, type_of(item))
    return None


def _optional(kind: Kind | tuple[Kind, ...], low: float | None = None, high: float | None = None) -> Field:
    return Field(type=kind, minimum=low, maximum=high)


# OpenAI's CreateChatCompletionRequest. Ranges are OpenAI's; sets of words are left open, because they grow
# (reasoning_effort, verbosity, service_tier) and the upstream knows its own. The most messages are ours: each costs us
# microseconds, and nobody sends as many.
OPENAI_FIELDS: Final = FieldTable(
    {
        "model": Field(type="string", required=True),
        "messages": Field(type="array", required=True, min_items=1, max_items=16_384),
        "audio": _optional("object"),
        "frequency_penalty": _optional("number", -2, 2),
        "function_call": _optional(("string", "object")),
        "functions": Field(type="array", min_items=1, max_items=128, items="object"),
        "logit_bias": _optional("object"),
        "logprobs": _optional("boolean"),
        "max_completion_tokens": _optional("integer", 1),
        "max_tokens": _optional("integer", 1),
        "metadata": _optional("object"),
        "modalities": Field(type="array", items="string"),
        "moderation": _optional("any"),
        "n": _optional("integer", 1, 128),
        "parallel_tool_calls": _optional("boolean"),
        "prediction": _optional("object"),
        "presence_penalty": _optional("number", -2, 2),
        "prompt_cache_key": _optional("string"),
        "prompt_cache_options": _optional("object"),
        "prompt_cache_retention": _optional("string"),
        "reasoning_effort": _optional("string"),
        "response_format": _optional("object"),
        "safety_identifier": _optional("string"),
        "seed": _optional("integer"),
        "service_tier": _optional("string"),
        "stop": Field(type=("string", "array"), max_items=4, items="string"),
        "store": _optional("boolean"),
        "stream": _optional("boolean"),
        "stream_options": _optional("object"),
        "temperature": _optional("number", 0, 2),
        "tool_choice": _optional(("string", "object")),
        "tools": Field(type="array", max_items=128, items="object"),
        "top_logprobs": _optional("integer", 0, 20),
        "top_p": _optional("number", 0, 1),
        "user": _optional("string"),
        "verbosity": _optional("string"),
        "web_search_options": _optional("object"),
    }
)
