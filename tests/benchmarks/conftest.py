"""A recorded comparison, small and made by hand."""

from __future__ import annotations

import pytest

from benchmarks.results import DIRECT, About, Memory, Round, Run, loads
from streamrouter.bench.client import Tally
from streamrouter.bench.load import Outcome
from streamrouter.bench.report import Report, report_of

CPU_US = {DIRECT: 10.0, "nginx": 12.0, "streamrouter": 30.0, "TensorZero": 40.0, "LiteLLM": 800.0}
MACHINE = {"cpu": "A <CPU>", "cores": 2, "memory_gib": 16, "kernel": "6.1", "python": "3.11.7", "busy": 0.1}


def seen(first_s: float, gap_s: float, failed: int = 0) -> Report:
    """A report of 100 requests."""
    tally = Tally()
    tally.requests, tally.events = 100, 10_000
    tally.errors["truncated"] = failed
    tally.first_s.extend([first_s] * 100)
    tally.gaps_s.extend([gap_s] * 100)
    return report_of(Outcome(tally, 5.0, 1.0), loads()[0].plan, url="http://x/v1", model="paced", stream=True)


@pytest.fixture
def run() -> Run:
    """Three rounds; each gateway costs a little more in each; Portkey could not be had."""
    abouts = [About(name, "1.0", "C", "a | b, <c>") for name in CPU_US if name != DIRECT]
    rounds = [
        Round(
            name,
            load.name,
            number,
            100,
            cpu + number,
            5.0,
            6.0,
            50.0 + number,
            seen(0.001 + cpu / 1e5, 0.02 + cpu / 1e6),
        )
        for number in range(3)
        for load in loads()
        for name, cpu in CPU_US.items()
    ]
    memory = [Memory(name, 500, 40.0, 20.0, 0) for name in ("nginx", "streamrouter")]
    memory.append(Memory("LiteLLM", 500, 400.0, 1.0, 3))
    return Run("2026-11-20T10:00:00+00:00", MACHINE, abouts, {"Portkey": "npm <failed>"}, loads(), rounds, memory)
