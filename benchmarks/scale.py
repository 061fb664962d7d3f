"""How one process carries more and more open streams, how much of a core it needs, and how the gaps grow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.compare import send
from benchmarks.gateways import OURS, Gateway, Running
from benchmarks.proc import cpu_s, machine, rss_mb, stop
from benchmarks.proxy import start_upstream
from benchmarks.results import DIRECT, Load
from streamrouter.bench.load import Plan, allow_descriptors
from streamrouter.bench.report import Report, report_of

WARM_UP = Plan(clients=8, requests=16)
SETTLED_S = 1.0


class Step(NamedTuple):
    """So many streams at once, one event every ``pace_ms``; each lasts ``seconds``."""

    streams: int
    pace_ms: int
    seconds: float


STEPS = (
    Step(200, 20, 10),
    Step(400, 20, 10),
    Step(600, 20, 10),
    Step(800, 20, 10),
    Step(1000, 20, 10),
    Step(1000, 50, 15),
    Step(1000, 100, 15),
    Step(4000, 200, 20),
    Step(4000, 400, 20),
)


class Measured(msgspec.Struct, frozen=True):
    """A step through one gateway. ``core`` and ``reached_per_s``: the share of one core that it took, and the events a
    second that came, while all streams were open."""

    gateway: str
    streams: int
    pace_ms: int
    offered_per_s: float
    reached_per_s: float
    core: float
    cpu_us: float
    rss_mb: float
    report: Report


class Scaling(msgspec.Struct):
    """A recorded run."""

    at: str
    machine: dict[str, Any]
    steps: list[Measured]


def scale(steps: Sequence[Step], say: Callable[[str], None], gateway: Gateway = OURS) -> Scaling:
    """Each step direct, then through the gateway."""
    allow_descriptors(65_536)  # children inherit it
    found = Scaling(datetime.now(UTC).isoformat(timespec="seconds"), machine(), [])
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process, port = start_upstream(str(directory))
        stack.callback(stop, process)
        own = directory / "gateway"
        own.mkdir()
        running = gateway.start(own, port)
        stack.callback(stop, running.process)
        send(running, _load(Step(8, 20, 1)), WARM_UP)
        direct = Running(process, f"http://127.0.0.1:{port}/v1")
        for step in steps:
            for name, each in ((DIRECT, direct), (gateway.name, running)):
                measured = _measure(name, each, step)
                found.steps.append(measured)
                gap = measured.report.gap_ms
                say(
                    f"{step.streams:>5} streams, {step.pace_ms:>3} ms  {name:<13}{measured.core:>5.0%} core  "
                    f"{measured.reached_per_s:,.0f} events/s  gap p99 {gap.p99:.0f} ms  {measured.report.failed} failed"
                )
                time.sleep(SETTLED_S)
    return found


def _load(step: Step) -> Load:
    """Half of the gap between two streams' starts would be lost if all began at once: they spread over two seconds."""
    plan = Plan(clients=step.streams, requests=step.streams, ramp_s=2.0)
    return Load("scale", "", f"paced-{step.pace_ms}", True, round(step.seconds * 1000 / step.pace_ms), "event", plan)


def _measure(name: str, running: Running, step: Step) -> Measured:
    load, pid = _load(step), running.process.pid
    marks: list[tuple[float, float, int]] = []
    most = 0.0

    def look(sending: Any) -> None:
        """CPU while all streams are open: between the end of the ramp and the first stream's end."""
        nonlocal most
        most = max(most, rss_mb(pid))
        if load.plan.ramp_s <= sending.elapsed_s and sending.in_flight == step.streams:
            marks.append((time.monotonic(), cpu_s(pid), sending.tally.events))

    before = cpu_s(pid)
    outcome = send(running, load, load.plan, look)
    used = cpu_s(pid) - before
    report = report_of(outcome, load.plan, url=running.base_url, model=load.model, stream=True)
    steady = (outcome.wall_s, used, float(outcome.tally.events))
    if len(marks) > 1:
        steady = (marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1], float(marks[-1][2] - marks[0][2]))
    return Measured(
        gateway=name,
        streams=step.streams,
        pace_ms=step.pace_ms,
        offered_per_s=step.streams * 1000 / step.pace_ms,
        reached_per_s=round(steady[2] / steady[0]),
        core=round(steady[1] / steady[0], 3),
        cpu_us=round(used * 1e6 / max(1, load.units(report)), 2),
        rss_mb=round(most, 1),
        report=report,
    )
