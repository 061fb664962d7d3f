"""``streamrouter bench``: options, exit codes, the saved report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streamrouter.cli.main import cli
from tests.bench.conftest import goodbyes
from tests.bench.conftest import upstream as upstream  # the scripted server


def bench(*words: str, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(
        cli, ["bench", *words], env={"STREAMROUTER_API_KEY": "", "OPENAI_API_KEY": "", **(env or {})}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def bench_json(*words: str, code: int = 0) -> Any:
    result = bench(*words, "--json", "-")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_closed_loop(upstream: str) -> None:
    found = bench_json(upstream, "--model", "paced", "--clients", "2", "--requests", "6", "--max-tokens", "3")
    assert (found["requests"], found["failed"], found["events"], found["tokens"]) == (6, 0, 36, 18)
    assert found["plan"]["clients"] == 2


def test_streams_at_a_pace(upstream: str) -> None:
    found = bench_json(upstream, "--streams", "5", "--pace", "1", "--duration", "0.1", "--ramp", "0", "--thorough")
    assert (found["requests"], found["tokens"]) == (5, 500)


def test_an_open_loop_without_streaming(upstream: str) -> None:
    found = bench_json(upstream, "--no-stream", "--rate", "100", "--duration", "0.1", "--no-usage")
    assert (found["requests"], found["stream"], found["tokens"]) == (10, False, 1000)


def test_any_failed_request_is_exit_code_1(upstream: str) -> None:
    found = bench_json(upstream, "--model", "fault-500", "--requests", "3", code=1)
    assert found["errors"] == {"status 500": 3}


def test_a_saved_run_is_compared_with(upstream: str, tmp_path: Path) -> None:
    saved = str(tmp_path / "run.json")
    shown = bench(upstream, "--model", "burst", "--requests", "4", "--json", saved)
    assert (shown.exit_code, "4 requests in" in shown.stdout) == (0, True)
    again = bench(upstream, "--model", "burst", "--requests", "4", "--compare", saved)
    assert (again.exit_code, "before" in again.stdout, "tokens/s" in again.stdout) == (0, True, True)
    Path(saved).write_text("[]")
    assert bench(upstream, "--compare", saved).exit_code == 2


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    with goodbyes() as server:
        words = [server.url, "--no-stream", "--clients", "1", "--requests", "1", "--header", "x-team: a"]
        assert bench(*words, "--key-file", str(key)).exit_code == 0
        assert bench(*words, env={"OPENAI_API_KEY": "sk-2"}).exit_code == 0
    assert [b"Bearer sk-1\r\n" in server.requests[0], b"Bearer sk-2\r\n" in server.requests[1]] == [True, True]
    assert b"\r\nx-team: a\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "words",
    [
        ["ftp://x"],
        ["--clients", "2", "--rate", "3"],
        ["--pace", "20"],
        ["--header", "no-colon"],
        ["--clients", "0"],
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str]) -> None:
    assert bench(*words).exit_code == 2
