"""Tables: aligned text on a pipe, rich on a terminal."""

from __future__ import annotations

import pytest

from streamrouter.cli.output import cap, progress, shown, working, write_csv, write_json, write_table, write_warnings


def test_values_as_people_read_them() -> None:
    values = [None, [], True, False, 1234567, ["a", "b"], "x"]
    assert [shown(value) for value in values] == ["-", "-", "yes", "no", "1,234,567", "a, b", "x"]


def test_a_cap_above_what_a_double_holds_comes_as_a_string() -> None:
    assert [cap(None), cap(1000), cap("9007199254740993")] == ["none", "1,000", "9,007,199,254,740,993"]


def test_a_table_on_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("name", "tokens"), [["bob", 7], ["alexandra", 12345]], right=("tokens",))
    assert capsys.readouterr().out == "name       tokens\nbob             7\nalexandra  12,345\n"


def test_json_is_one_line_and_warnings_are_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"a": "é"})
    write_warnings(["careful"])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ('{"a": "é"}\n', "warning: careful\n")


def test_csv_has_a_heading_and_no_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    write_csv([])
    write_csv([{"a": 1, "b": "=2"}, {"a": -3, "b": "x,y"}])
    assert capsys.readouterr().out == 'a,b\n1,\'=2\n-3,"x,y"\n'


def test_progress_is_for_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter([1, 2]), "rows")) == [1, 2]
    with working("long"):
        pass
    assert capsys.readouterr().err == ""
