"""The harness's command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import cli
from benchmarks.results import Run, write


def verb(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("name", cli.list_commands(None))  # type: ignore[arg-type]
def test_every_verb_is_there(name: str) -> None:
    assert "Usage:" in verb(name, "--help").output
    assert f"\n  {name} " in verb("--help").output


def test_a_recorded_run_is_shown_and_made_into_a_report(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write(path, run)
    shown = verb("report", str(path)).output
    assert "streamrouter" in shown
    assert "MISS" in shown
    assert path.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert path.with_suffix(".svg").read_text().startswith("<svg")


def test_two_recorded_runs(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write(path, run)
    assert "1.00" in verb("history", str(path), str(path)).output
    path.write_text("{}")
    assert "not a recorded comparison" in verb("history", str(path), str(path), code=1).output
