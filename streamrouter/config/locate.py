"""Where in a TOML file a value stands: ``tomllib`` gives values without positions, a fault needs its line.

This is no parser: the text has been parsed by ``tomllib`` already and is known to be sound, so the scan only has to
know where keys and array items begin, and how to step over strings and comments on the way.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Any

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[ \t]*\.[ \t]*)+""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\r\n]*")


def dotted(path: Path) -> str:
    """A path as it would be written: ``surface[0].base_path``, ``models."a/b".price``."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            shown = step if _BARE.fullmatch(step) else f'"{step}"'
            out += f".{shown}" if out else shown
    return out


class Locator:
    """The lines of every key, table and array item of one sound TOML text; see ``line``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # how many [[headers]] each array of tables has had
        self._ends = [match.end() for match in re.finditer("\n", text)]
        self._scan()

    def line(self, path: Path) -> int:
        """The line (from 1) of ``path``, or of the closest table around it; 1 if the file says nothing of it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 1

    def _scan(self) -> None:
        table: Path = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip_blank(self) -> bool:
        """Step over white space, line ends and comments; False at the end of the text."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _note(self, path: Path, at: int) -> None:
        self._lines.setdefault(path, bisect_right(self._ends, at) + 1)

    def _key(self) -> tuple[str, ...]:
        """The dotted key that begins here, unquoted by ``tomllib`` itself."""
        match = _KEY.match(self._text, self._at)
        if match is None:  # cannot be in a sound text; stepping on keeps the scan finite
            self._at += 1
            return ()
        self._at = match.end()
        found: Any = tomllib.loads(f"{match.group()} = 0")
        steps = []
        while isinstance(found, dict):
            [(step, found)] = found.items()
            steps.append(step)
        return tuple(steps)

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``: the path of the table that it opens."""
        start = self._at
        of_array = self._text.startswith("[[", start)
        self._at += 2 if of_array else 1
        self._skip_blank()
        path: Path = ()
        for step in self._key():
            path = self._inside(path)
            path = (*path, step)
            self._note(path, start)
        if of_array:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._inside(path)
        self._note(path, start)
        self._skip_blank()
        self._at += 2 if of_array else 1
        return path

    def _inside(self, path: Path) -> Path:
        """An array of tables means its last table."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        """``key = value``, in a table or in an inline table."""
        start = self._at
        path = table
        for step in self._key():
            path = (*path, step)
            self._note(path, start)
        self._skip_blank()
        if self._text.startswith("=", self._at):
            self._at += 1
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._items(path, "]")
        elif opening == "{":
            self._items(path, "}")
        else:
            match = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = match.end() if match else self._at + 1

    def _items(self, path: Path, closing: str) -> None:
        """What stands between brackets: values by number, or pairs by key."""
        self._at += 1
        number = 0
        while self._skip_blank() and self._text[self._at] != closing:
            if self._text[self._at] == ",":
                self._at += 1
            elif closing == "]":
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
        self._at += 1
