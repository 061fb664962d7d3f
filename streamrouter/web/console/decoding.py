"""Bodies and queries as Structs: strict, with the field at fault named; what two readers may read apart is refused."""

from __future__ import annotations

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from streamrouter.errors import Refusal
from streamrouter.web.console.route import Body
from streamrouter.wire.strict import refuse_repeats

MOST_BODY_BYTES = 64 * 1024
_MOST_PARAMETERS = 32
_LONGEST_NAME = 100  # of a field, as it is told back
_FIELD = re.compile(r"at `\$\.([^`]+)`")
_NAMED = re.compile(r"field `([^`]*)`")
T = TypeVar("T", bound=Body)


def body_of(raw: bytes, kind: type[T]) -> T:
    """The body as ``kind``; no bytes at all are ``{}``. Refusal ``invalid_json`` or ``invalid_value``."""
    try:
        tree = msgspec.json.decode(raw or b"{}")
        if not isinstance(tree, dict):
            raise Refusal("invalid_value", "The body is a JSON object.")
        refuse_repeats(raw or b"{}", tree)
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise _fault(error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refusal("invalid_json", "The body is not valid JSON.") from None


def query_of(raw: bytes, kind: type[Body] | None) -> Any:
    """The query string as ``kind``, None where the route takes none. No parameter stands twice, or is unknown."""
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Refusal("invalid_value", "The query string cannot be read: percent-encode it as UTF-8.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise Refusal("invalid_value", "A query parameter stands twice. Send it once.", param=_short(name))
        found[name] = value
    if kind is None:
        if found:
            name = _short(next(iter(found)))
            raise Refusal("invalid_value", f"This route has no query parameter {name!r}.", param=name)
        return None
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _fault(error) from None


def _fault(error: msgspec.ValidationError) -> Refusal:
    """msgspec's words, with the field as ``param``: at a path, unknown, or missing."""
    text = str(error)
    nested, named = _FIELD.search(text), _NAMED.search(text)
    name = nested.group(1) if nested else ""
    if named and ("unknown field" in text or "required field" in text):
        name = f"{name}.{named.group(1)}" if name else named.group(1)
    return Refusal("invalid_value", text[:300] + ".", param=_short(name) or None)


def _short(name: str) -> str:
    return name[:_LONGEST_NAME]
