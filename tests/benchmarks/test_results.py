"""Medians of recorded rounds, what was added over direct, the bars, the tables, and two runs side by side."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import tables
from benchmarks.bars import bars
from benchmarks.history import history
from benchmarks.results import DIRECT, Run, loads, read_run, write
from tests.benchmarks.conftest import seen


def test_a_unit_is_an_event_of_the_upstreams_or_a_request() -> None:
    paced, whole, *_ = loads()
    report = seen(0.1, 0.1, failed=10)
    assert (paced.units(report), whole.units(report)) == (90 * 253, 90)


def test_figures_are_medians_and_differences_to_direct(run: Run) -> None:
    assert run.cpu_us("streamrouter", "paced") == 31.0
    assert run.cpu_us("nobody", "paced") is None
    added = run.added_ms("streamrouter", "first", lambda report: report.first_ms.p50)
    assert added == pytest.approx(0.2)
    assert run.added_ms(DIRECT, "first", lambda report: report.first_ms.p50) == 0.0
    assert (run.rss_mb("nginx"), run.failed("nginx")) == (52.0, 0)


def test_memory_counts_only_where_every_stream_opened(run: Run) -> None:
    assert (run.kib_per_stream("streamrouter"), run.kib_per_stream("LiteLLM")) == (20.0, None)


def test_a_run_can_be_saved_and_read(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    write(path, run)
    assert read_run(path) == run
    path.write_text("{}")
    with pytest.raises(ValueError, match="not a recorded comparison"):
        read_run(path)
    run.schema = 99
    path.write_bytes(msgspec.json.encode(run))
    with pytest.raises(ValueError, match="schema 99"):
        read_run(path)


def test_bars_are_ratios_in_one_run(run: Run) -> None:
    found = {bar.what: bar for bar in bars(run)}
    paced = found["CPU per paced event, of TensorZero's"]
    assert paced.value == pytest.approx(31 / 41)
    assert paced.verdict == "pass"
    assert found["CPU per burst of 100 events, of TensorZero's"].verdict == "MISS"
    assert found["memory per open stream"].verdict == "pass"
    run.rounds = [each for each in run.rounds if each.gateway != "TensorZero"]
    assert bars(run)[0].verdict == "not measured"


def test_the_table_has_a_row_per_gateway_the_cheapest_first(run: Run) -> None:
    rows = tables.comparison(run)
    assert [row[0] for row in rows] == ["nginx", "streamrouter", "TensorZero", "LiteLLM"]
    assert rows[1] == ["streamrouter", "31.0", "31.0", "31.0", "31.0", "0.2 / 0.2", "0.0", "52", "20.0", "0"]
    assert rows[3][8] == "–"
    assert {len(row) for row in rows} == {len(tables.HEADINGS)}
    assert tables.ratios(run)[2][1] == "1.32"
    assert tables.direct(run)[0][1:3] == ["5.0", "6.0"]
    assert tables.verdicts(run)[0] == ["CPU per paced event, of TensorZero's", "0.756", "≤ 0.85 ×", "pass"]


def test_what_is_not_in_the_run_is_named_with_its_reason(run: Run) -> None:
    assert tables.abouts(run)[-1] == ["Portkey", "–", "–", "not in this run: npm <failed>"]


def test_markdown_cells_cannot_break_the_table(run: Run) -> None:
    lines = tables.markdown(tables.ABOUT_HEADINGS, tables.abouts(run)).splitlines()
    assert lines[1] == "| --- | --- | --- | --- |"
    assert "a \\| b" in lines[2]


def test_two_runs_side_by_side(run: Run) -> None:
    now = msgspec.json.decode(msgspec.json.encode(run), type=Run)
    now.rounds = [msgspec.structs.replace(each, cpu_us=each.cpu_us / 2) for each in run.rounds]
    rows = {(row[0], row[1]): row[2:] for row in history(run, now)}
    assert rows["streamrouter", "µs/event, 200 paced streams"] == ["31.0", "15.5", "0.50"]
    assert rows["LiteLLM", "KiB per stream"] == ["–", "–", "–"]
