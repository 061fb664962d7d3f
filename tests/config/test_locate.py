from __future__ import annotations

import tomllib
from typing import Any

import pytest

from streamrouter.config.load import BUILT_IN
from streamrouter.config.locate import Locator, Path, dotted

TEXT = '''# one
title = "a # no comment"  # 2

[server]
port = 1
"quoted key" = 'x = 1'
a.b.c = 7
text = """
[fake]
port = 2 \\""" still
"""
literal = \'\'\'
[[fake]]''\'\'\'
after = 15

[ models . "gpt/4.1:x" ]  # 17
price = { input = "1", output = { deep = [1, 2] } }
many = [  # 19
  "a",
  { name = "}" },  # ]

  [1,
   2],
]

[[surface]]
name = "first"
[[surface]]
name = "second"
[surface.limits]
n = 31
[[surface.host]]
h = 33
[[surface.host]]
h = 35
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("server",), 4),
        (("server", "port"), 5),
        (("server", "quoted key"), 6),
        (("server", "a", "b", "c"), 7),
        (("server", "a"), 7),
        (("server", "text"), 8),
        (("server", "after"), 14),
        (("models", "gpt/4.1:x"), 16),
        (("models", "gpt/4.1:x", "price"), 17),
        (("models", "gpt/4.1:x", "price", "output", "deep", 1), 17),
        (("models", "gpt/4.1:x", "many"), 18),
        (("models", "gpt/4.1:x", "many", 0), 19),
        (("models", "gpt/4.1:x", "many", 1, "name"), 20),
        (("models", "gpt/4.1:x", "many", 2), 22),
        (("models", "gpt/4.1:x", "many", 2, 1), 23),
        (("surface", 0, "name"), 27),
        (("surface", 1), 28),
        (("surface", 1, "name"), 29),
        (("surface", 1, "limits", "n"), 31),
        (("surface", 1, "host", 0, "h"), 33),
        (("surface", 1, "host", 1, "h"), 35),
        (("surface", 1, "missing"), 28),
        (("server", "missing", "deeper"), 4),
        (("nowhere",), 1),
    ],
)
def test_the_line_of_a_path(path: Path, line: int) -> None:
    assert Locator(TEXT).line(path) == line


def paths_of(value: Any, path: Path = ()) -> list[Path]:
    found: list[Path] = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        found += paths_of(item, (*path, step))
    return found


@pytest.mark.parametrize("text", [TEXT, BUILT_IN.read_text()])
def test_every_value_that_tomllib_sees_has_a_line_of_its_own_kind(text: str) -> None:
    locator = Locator(text)
    known = locator._lines
    for path in paths_of(tomllib.loads(text)):
        assert path in known, dotted(path)
    lines = text.split("\n")
    for path, line in known.items():
        step = path[-1]
        if isinstance(step, str):
            assert step in lines[line - 1], dotted(path)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n")])
def test_line_ends_do_not_matter(text: str) -> None:
    assert Locator(text).line(("surface", 1, "host", 1, "h")) == 35


def test_dotted_is_how_it_would_be_written() -> None:
    assert dotted(("surface", 0, "base_path")) == "surface[0].base_path"
    assert dotted(("models", "gpt/4.1", "price", "input")) == 'models."gpt/4.1".price.input'
    assert dotted(("a b", "c")) == '"a b".c'


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "a = 1", "[", "x", "= 1", "a = [1, {", '"""'])
def test_no_text_makes_it_hang_or_fail(text: str) -> None:
    assert Locator(text).line(("a",)) == 1
