"""What is counted is what is sent: a JSON text that two readers could read differently is refused.

JSON decoders disagree on two things. Of a key that stands twice most take the last value, some the first; and Go's
``encoding/json`` takes ``Max_Tokens`` for ``max_tokens``. A client could show us one number and the upstream another.

- ``refuse_repeats``: no key stands twice in any object, at any depth.
- ``refuse_twins``: no key is a documented one in other letters (after ``str.casefold``), where documented ones are
  known: at the top level, in messages, content parts, tools, tool calls and ``stream_options``.
- ``refuse_bombs``: a text that is all structure costs a thousand times what its bytes do, so its values are bounded
  before it is decoded.

A decoded object keeps one value per key, so a text that decodes and encodes back to itself has no repeats: that is the
proof in the common case, once white space is out of the way. Otherwise (escapes, ``1e5``) members are counted: outside
of strings a colon stands behind a key and nowhere else, in the text as in what was kept of it.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any, Final, Union

import msgspec
import orjson

from streamrouter.errors import Refusal
from streamrouter.wire.fields import InvalidFields, Loc, wrong_value

MAX_VALUES: Final = 100_000  # ~20 ms to decode and compare at worst; the longest conversations have a few thousand
_MOST_QUOTES: Final = 1_000_000  # more cannot be taken apart in time; quotes inside of strings count as well
_NAMED_BYTES: Final = 128 * 1024  # up to here a repeat is named; to find it costs ten times as much as to see it

Shape = Mapping[str, Union["Shape", None]]


def _shape(names: str, **nested: Shape) -> Shape:
    return {**dict.fromkeys(names.split()), **nested}


_FUNCTION = _shape("name arguments")
_CALL = _shape("id type index", function=_FUNCTION, custom=_shape("name input"))
_PART = _shape(
    "type text refusal cache_control",
    image_url=_shape("url detail"),
    input_audio=_shape("data format"),
    file=_shape("file_id file_data filename"),
)
_MESSAGE = _shape(
    "role name tool_call_id refusal reasoning reasoning_content",
    content=_PART,
    tool_calls=_CALL,
    function_call=_FUNCTION,
    audio=_shape("id"),
)
_DECLARATION = _shape("name description parameters strict")
REQUEST: Final[Shape] = {
    "messages": _MESSAGE,
    "tools": _shape("type", function=_DECLARATION, custom=_shape("name description format")),
    "functions": _DECLARATION,
    "stream_options": _shape("include_usage include_obfuscation"),
    "prediction": _shape("type", content=_PART),
}


def refuse_bombs(body: bytes) -> None:
    """Raises ``invalid_json`` for a text of more than ``MAX_VALUES`` values, without decoding it."""
    if len(body) < 2 * MAX_VALUES:
        return
    if body.count(b'"') > _MOST_QUOTES or _values(body) > MAX_VALUES:
        raise Refusal("invalid_json", f"The request body has more than {MAX_VALUES:,} JSON values.")


def refuse_repeats(body: bytes, tree: dict[str, Any]) -> None:
    """Raises ``invalid_value`` if a key repeats in any object of ``body``, whose decoded form is ``tree``.

    The key is named up to 128 KiB of text. Refused as well is what orjson does not write, because readers disagree on
    it too: integers beyond 64 bits (``invalid_value``) and more than 254 levels (``invalid_json``).
    """
    try:
        kept = orjson.dumps(tree)
    except orjson.JSONEncodeError as error:
        if "Integer" in str(error):
            raise Refusal("invalid_value", "The request body has an integer that does not fit 64 bits.") from None
        raise Refusal("invalid_json", "The request body is nested too deeply.") from None
    if kept == body or kept == msgspec.json.format(body, indent=-1) or _members(kept) == _members(body):
        return
    loc = _find_repeat(body) if len(body) <= _NAMED_BYTES else None
    if loc is None:
        raise Refusal("invalid_value", "The request body has an object in which a key repeats. Send every key once.")
    raise InvalidFields([wrong_value(loc, "the key repeats. Send it once.")])


def refuse_twins(tree: dict[str, Any], *known: Container[str]) -> None:
    """Raises ``invalid_value`` for a key that equals a known one after casefold without being it.

    ``known`` are the documented top-level fields (lower case); those further down are in ``REQUEST``.
    """
    for key, value in tree.items():
        folded = key.casefold()
        if folded != key and any(folded in names for names in known):
            _raise_twin((key,), folded)
        shape = REQUEST.get(key)
        if shape is not None and (loc := _find_twin(value, shape)):
            _raise_twin((key, *loc), str(loc[-1]).casefold())


def _raise_twin(loc: Loc, known: str) -> None:
    raise InvalidFields([wrong_value(loc, f"the field is spelled '{known}'.")])


def _find_twin(value: Any, shape: Shape) -> Loc | None:
    """Where the first twin below ``value`` is; the path is put together only on the way back."""
    if type(value) is dict:
        return _find_twin_key(value, shape)
    if type(value) is list:
        for index, item in enumerate(value):
            if type(item) is dict and (loc := _find_twin_key(item, shape)):
                return (index, *loc)
    return None


def _find_twin_key(members: dict[str, Any], shape: Shape) -> Loc | None:
    for key, value in members.items():
        if key in shape:
            inner = shape[key]
            if inner is not None and (loc := _find_twin(value, inner)):
                return (key, *loc)
        elif key.casefold() in shape:
            return (key,)
    return None


def _outside_strings(text: bytes) -> bytes:
    """A JSON text without what its strings hold. Escaped backslashes go first, so that ``\\"`` is an escaped quote."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(text.split(b'"')[::2])


def _values(text: bytes) -> int:
    """About the values in a JSON text: each is the first of an array or object, or stands behind a comma."""
    structure = _outside_strings(text)
    return structure.count(b",") + structure.count(b"[") + structure.count(b"{")


def _members(text: bytes) -> int:
    """How many members all objects of a valid JSON text have together, repeats included."""
    return _outside_strings(text).count(b":")


class _Pairs(list[tuple[str, Any]]):
    """An object with its repeats."""


def _find_repeat(body: bytes) -> Loc | None:
    try:
        root = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):  # deeper, or a longer number, than this decoder takes
        return None
    waiting: list[tuple[Loc, Any]] = [((), root)]
    while waiting:
        loc, value = waiting.pop()
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, item in value:
                if key in seen:
                    return (*loc, key)
                seen.add(key)
                waiting.append(((*loc, key), item))
        elif isinstance(value, list):
            waiting += (((*loc, index), item) for index, item in enumerate(value))
    return None
