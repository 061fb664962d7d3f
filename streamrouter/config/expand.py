"""``${VAR}``, ``${VAR:-default}`` and ``file:`` in the strings of a configuration.

A value that came out of the environment or a file is a ``Given``: it may stand where a number is expected (the
environment knows only strings), and a fault shows how it was written, never what it held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

from streamrouter.config.locate import Path

Report = Callable[[Path, str], None]

_REFERENCE = re.compile(r"\$(?:\$\{|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<broken>\{))")
_MAX_SECRET_BYTES = 64 * 1024


class Given(str):
    """A string from outside the file. ``written`` is what may be shown of it."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, value: str, written: str) -> Given:
        given = super().__new__(cls, value)
        given.written = written
        return given


def expand_tree(value: Any, environ: Mapping[str, str], report: Report, path: Path = ()) -> Any:
    """``value`` with the variables of every string in it replaced; a fault is reported at its path."""
    if isinstance(value, dict):
        return {key: expand_tree(item, environ, report, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_tree(item, environ, report, (*path, number)) for number, item in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        return expand(value, environ, lambda fault: report(path, fault))
    return value


def expand(text: str, environ: Mapping[str, str], fault: Callable[[str], None]) -> str:
    """One string. ``${VAR:-default}`` takes the default where VAR is unset or empty; ``$${`` is a plain ``${``."""

    def replacement(match: re.Match[str]) -> str:
        if match["broken"]:
            fault("a ${ that is no ${NAME} or ${NAME:-default}; write $${ for a plain ${")
            return ""
        name, default = match["name"], match["default"]
        if name is None:
            return "${"
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            fault(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
            return ""
        return environ[name]

    return Given(_REFERENCE.sub(replacement, text), text)


def read_secret(value: str, folder: FilePath, fault: Callable[[str], None]) -> str:
    """What ``file:PATH`` holds, stripped (PATH relative to the configuration's folder); any other value as it is."""
    if not value.startswith("file:"):
        return value
    path = folder / value.removeprefix("file:")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        secret = content.decode("utf-8").strip()
    except OSError as error:
        fault(f"cannot read {path}: {error.strerror}")
        return ""
    except UnicodeDecodeError:
        fault(f"{path} is not text")
        return ""
    if not secret or len(content) > _MAX_SECRET_BYTES:
        fault(f"{path} is {'longer than 64 KiB' if secret else 'empty'}; it should hold one secret")
        return ""
    return Given(secret, value)
