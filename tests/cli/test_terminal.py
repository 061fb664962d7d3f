"""Tables on a terminal: nothing cut, nothing folded, nothing interpreted."""

from __future__ import annotations

import io
import sys

import pytest

from streamrouter.cli.output import progress, working, write_table


class Terminal(io.StringIO):
    """A stdout that says it is one."""

    def isatty(self) -> bool:
        return True


def terminal_of_40_columns(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """In place of stdout, without colour. (In a fixture, pytest's own capture would replace it again.)"""
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    return terminal


def test_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal_of_40_columns(monkeypatch)
    write_table(("name", "n"), [["[red]bob", 1]], right=("n",))
    assert "[red]bob" in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue()  # no colour


def test_a_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal_of_40_columns(monkeypatch)
    row = ["key_01m7wja04h795xqptb", "sk-…jczU", 10_000_000, "a-long-model/name", "another-one"]
    write_table(("id", "key", "tokens", "models", "more"), [row], right=("tokens",))
    line = screen.getvalue().splitlines()[1]
    assert line.split() == ["key_01m7wja04h795xqptb", "sk-…jczU", "10,000,000", "a-long-model/name", "another-one"]


def test_rows_are_counted_on_stderr_while_they_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress(iter(range(3)), "requests")) == [0, 1, 2]
    assert "requests" in screen.getvalue()
    with working("the copy is checked"):
        pass
    assert "the copy is checked" in screen.getvalue()
