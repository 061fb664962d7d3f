"""The generated parts of docs/ are there, are replaced as a whole, and say what was recorded."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.chart import main_chart
from benchmarks.docs import CHART, PERFORMANCE, RECORDED, SCALING, carried, comparison, replaced, resting, scaling
from benchmarks.resting import Start
from benchmarks.results import DIRECT, Memory, Run, read_run
from benchmarks.scale import Measured, Scaling
from tests.benchmarks.conftest import MACHINE, seen


def measured(gateway: str, streams: int, core: float) -> Measured:
    offered = streams * 50.0
    came = min(offered, 20_000.0)
    return Measured(gateway, streams, 20, offered, came, core, core * 1e6 / came, 150.0, seen(0.002, 0.021))


FOUND = Scaling(
    "2026-11-20T10:00:00+00:00",
    dict(MACHINE),
    [measured(name, streams, core) for streams, core in ((200, 0.3), (800, 1.0)) for name in (DIRECT, "streamrouter")],
)


def test_what_stands_between_the_markers_is_replaced() -> None:
    text = "a\n<!-- x: generated -->\nold\n<!-- x: end -->\nb"
    assert replaced(text, "x", r"new \1") == "a\n<!-- x: generated -->\nnew \\1\n<!-- x: end -->\nb"
    with pytest.raises(ValueError, match="no markers for y"):
        replaced(text, "y", "")


def test_the_documents_have_the_markers() -> None:
    for name in ("comparison", "resting"):
        replaced(PERFORMANCE.read_text(), name, "")
    replaced(SCALING.read_text(), "scaling", "")


def test_the_documents_say_what_is_recorded() -> None:
    """``python -m benchmarks report --docs`` writes both."""
    run = read_run(RECORDED / "compare.json")
    text = PERFORMANCE.read_text()
    assert replaced(text, "comparison", comparison(run)) == text
    assert CHART.read_text() == main_chart(run)
    recorded = msgspec.json.decode((RECORDED / "scale.json").read_bytes(), type=Scaling)
    assert replaced(SCALING.read_text(), "scaling", scaling(recorded)) == SCALING.read_text()


def test_a_comparison_in_words_and_tables(run: Run) -> None:
    text = comparison(run)
    assert text.startswith("Recorded 2026-11-20: 3 rounds, 2 cores")
    assert "| streamrouter | 31.0 |" in text
    assert "not in this run: npm" in text


def test_memory_and_starts() -> None:
    text = resting(
        [Memory("streamrouter", 500, 120.0, 20.0, 0), Memory("x", 500, 1.0, 1.0, 2)], [Start(0.5, 0.8, 130.0)]
    )
    assert "| streamrouter | 500 | 20.0 | 120 |" in text
    assert "0.50 s; to the first streamed event: 0.80 s" in text
    assert "| x |" not in text


def test_a_core_carries_what_its_dearest_unsaturated_step_says() -> None:
    assert carried(FOUND)[2] == ["50", "600", "30,000"]
    assert "| 200 | 20 | 10,000 | 10,000 | 30% |" in scaling(FOUND)
    saturated = Scaling("", {}, [measured("streamrouter", 800, 1.0)])
    assert carried(saturated) == []
