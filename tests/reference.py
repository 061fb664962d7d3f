"""``python -m tests.reference``: the tables of docs/configuration.md and docs/errors.md, made from the code.

What the code knows (a key's type and default, a code's status) is written anew; the sentences beside it are the page's
own and stay. A key that is new gets a row without a sentence, which ``test_docs.py`` does not let pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from streamrouter.config import schema
from streamrouter.errors import RULES

DOCS = Path(__file__).parent.parent / "docs"
CONFIGURATION = DOCS / "configuration.md"
ERRORS = DOCS / "errors.md"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- end -->)", re.S)
LARGEST = 2**53 - 1
REPEATED = (408, 409, 429)  # what the OpenAI SDKs send again by themselves, beside every 5xx


def structs() -> Iterator[type[msgspec.Struct]]:
    """Every table of the configuration."""
    for found in vars(schema).values():
        if isinstance(found, type) and issubclass(found, schema._Strict) and found is not schema._Strict:
            yield found


def kind(type_: inspect.Type, key: str = "") -> str:
    """A type in words: what may stand behind ``key =``."""
    match type_:
        case inspect.UnionType():
            return kind(next(each for each in type_.types if not isinstance(each, inspect.NoneType)), key)
        case inspect.Metadata():
            return str((type_.extra_json_schema or {}).get("description") or kind(type_.type, key))
        case inspect.LiteralType():
            return " or ".join(f"`{value(each)}`" for each in type_.values)
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.IntType():
            return numbers(type_)
        case inspect.FloatType():
            return ("seconds" if type_.gt == 0 else "seconds, or 0") if key.endswith("_s") else "a number"
        case inspect.StrType():
            return "a string"
        case inspect.ListType():
            return "a list of tables" if _is_struct(type_.item_type) else f"a list: {kind(type_.item_type)}"
        case inspect.DictType() | inspect.StructType():
            return "a table"
    return "any value"


def numbers(type_: inspect.IntType) -> str:
    """A range of whole numbers in words."""
    least = type_.ge or 0
    return f"{least:,} or more" if type_.le in (None, LARGEST) else f"{least:,} to {type_.le:,}"


def _is_struct(type_: inspect.Type) -> bool:
    return isinstance(type_, inspect.StructType)


def value(default: Any) -> str:
    """A value as TOML writes it."""
    match default:
        case bool():
            return str(default).lower()
        case int():
            return f"{default:_}" if default > 9999 else str(default)
        case str():
            return f'"{default}"'
        case list() if any(isinstance(each, msgspec.Struct) for each in default):
            return "[{}]"
        case list():
            return f"[{', '.join(map(value, default))}]"
        case dict() | msgspec.Struct():
            return "{}"
    return str(default)


def default_of(field: inspect.Field) -> str:
    """A key's default as a cell."""
    if field.required:
        return "required"
    made = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "—" if made is None else f"`{value(made)}`"


def keys(struct: type[msgspec.Struct], told: dict[str, str]) -> str:
    """The table of one Struct."""
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    rows = [
        f"| `{field.name}` | {kind(field.type, field.name)} | {default_of(field)} | {told.get(field.name, '')} |\n"
        for field in described.fields
    ]
    return "".join(["| key | takes | default | |\n| --- | --- | --- | --- |\n", *rows])


def codes(told: dict[str, str]) -> str:
    """One table of error codes: those that have a row in it already."""
    rows = [f"| `{code}` | {status(code)} | {words} |\n" for code, words in told.items()]
    head = "| code | status | sent again | what happened, and why | what to do |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(rows)


def status(code: str) -> str:
    """The cells that ``errors.RULES`` knows."""
    rule = RULES[code]
    repeated = rule.retry is not False and (rule.status in REPEATED or rule.status >= 500)
    return f"{rule.status} | {'yes' if repeated else 'no'}"


def sentences(table: str, known: int) -> dict[str, str]:
    """What the page says of each row, behind its name and the ``known`` cells that are made."""
    rows = (line[2:].removesuffix(" |").split(" | ", known + 1) for line in table.splitlines()[2:])
    return {cells[0].strip("`"): cells[-1].strip() if len(cells) > known + 1 else "" for cells in rows}


def configuration(page: str) -> str:
    """docs/configuration.md with its tables made anew."""
    return TABLE.sub(lambda found: found[1] + keys(getattr(schema, found[2]), sentences(found[3], 2)) + found[4], page)


def errors(page: str) -> str:
    """docs/errors.md with its tables made anew."""
    return TABLE.sub(lambda found: found[1] + codes(sentences(found[3], 2)) + found[4], page)


def main() -> None:
    """Write both pages."""
    CONFIGURATION.write_text(configuration(CONFIGURATION.read_text()))
    ERRORS.write_text(errors(ERRORS.read_text()))


if __name__ == "__main__":
    main()
