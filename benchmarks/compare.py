"""The comparison: one upstream, each gateway in front of it, the same loads in turn, round after round.

Gateways are all started first and stay; in a round every load goes direct and through each of them, so that a slow
minute of a shared machine touches all alike. A gateway's CPU is its process tree's (proc.py) from the first request
to a moment after the last answer.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gateways import Gateway, Running
from benchmarks.install import Skipped, nginx, version_of
from benchmarks.proc import cpu_s, machine, rss_mb, stop
from benchmarks.proxy import start_upstream
from benchmarks.results import DIRECT, About, Load, Memory, Round, Run, loads
from streamrouter.bench.load import Load as Sending
from streamrouter.bench.load import Outcome, Plan, run_load
from streamrouter.bench.report import Report, report_of
from streamrouter.bench.target import call_body, target

AFTERWARDS_S = 0.3  # what is settled, logged and flushed when the answer is out belongs to the request
WARM_UP = Plan(clients=8, duration_s=3.0, silence_s=20.0, thorough=True)  # compilers at run time need their thousands
OPEN_STREAMS = 500
OPEN_PACE_MS = 1000
OPEN_TOKENS = 8
Say = Callable[[str], None]


class Comparison:
    """A run that is being made."""

    def __init__(self, gateways: Sequence[Gateway], scale: float, say: Say) -> None:
        self._gateways = gateways
        self._say = say
        self._running: dict[str, Running] = {}
        self._upstream = 0
        self.run = Run(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine(),
            gateways=[],
            skipped={},
            loads=loads(scale),
        )

    def make(self, rounds: int) -> Run:
        """Start everything, measure, end everything."""
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            process, port = start_upstream(str(directory))
            stack.callback(stop, process)
            self._upstream = process.pid
            self._running[DIRECT] = Running(process, f"http://127.0.0.1:{port}/v1")
            for gateway in self._gateways:
                self._start(stack, gateway, directory, port)
            for number in range(rounds):
                self._round(number)
        return self.run

    def _start(self, stack: ExitStack, gateway: Gateway, directory: Path, port: int) -> None:
        """Started, found to answer, warmed up, and its memory looked at while it is young."""
        own = directory / gateway.name
        own.mkdir()
        self._say(f"starting {gateway.name}")
        try:
            running = gateway.start(own, port)
        except (Skipped, RuntimeError, OSError, subprocess.SubprocessError) as error:
            self.run.skipped[gateway.name] = str(error)
            self._say(f"skipped {gateway.name}: {error}")
            return
        stack.callback(stop, running.process)
        for load in self.run.loads:
            outcome = self._send(running, load, WARM_UP)
            if outcome.tally.errors:
                kinds = ", ".join(outcome.tally.errors)
                self.run.skipped[gateway.name] = f"{load.title} failed in the warm-up: {kinds}"
                self._say(f"skipped {gateway.name}: {self.run.skipped[gateway.name]}")
                return
        version = gateway.version or version_of([str(nginx()), "-v"])
        self.run.gateways.append(About(gateway.name, version, gateway.built_in, gateway.does))
        self._running[gateway.name] = running
        self.run.memory.append(self._memory(gateway.name, running))

    def _memory(self, name: str, running: Running) -> Memory:
        load = Load("open", "", f"paced-{OPEN_PACE_MS}", True, OPEN_TOKENS, "event", _open_plan(OPEN_STREAMS))
        return open_streams(name, running, load, lambda plan, watch: self._send(running, load, plan, watch))

    def _send(
        self, running: Running, load: Load, plan: Plan, watch: Callable[[Sending], None] | None = None
    ) -> Outcome:
        return send(running, load, plan, watch)

    def _round(self, number: int) -> None:
        for load in self.run.loads:
            turn = list(self._running)
            for name in turn if number % 2 else reversed(turn):
                found = self._measure(name, load, number)
                self.run.rounds.append(found)
                self._say(f"round {number + 1}  {load.title:<34}{name:<14}{found.cpu_us:>10,.1f} µs/{load.unit}")

    def _measure(self, name: str, load: Load, number: int) -> Round:
        running = self._running[name]
        pid = running.process.pid
        before, upstream = cpu_s(pid), cpu_s(self._upstream)
        outcome = self._send(running, load, load.plan)
        time.sleep(AFTERWARDS_S)
        used, upstream_used = cpu_s(pid) - before, cpu_s(self._upstream) - upstream
        report = _report(outcome, load, running)
        units = load.units(report)
        per = 1e6 / max(1, units)
        return Round(
            gateway=name,
            load=load.name,
            number=number,
            units=units,
            cpu_us=round(used * per, 2),
            upstream_us=round(upstream_used * per, 2),
            client_us=round(outcome.client_cpu_s * per, 2),
            rss_mb=round(rss_mb(pid), 1),
            report=report,
        )


def send(running: Running, load: Load, plan: Plan, watch: Callable[[Sending], None] | None = None) -> Outcome:
    """A load through a gateway, from this process."""
    body = call_body(running.model.format(load.model), stream=load.stream, max_tokens=load.tokens)
    aim = target(running.base_url, body, stream=load.stream, key=running.key, headers=running.headers)
    return run_load(aim, plan, watch=watch)


def _report(outcome: Outcome, load: Load, running: Running) -> Report:
    return report_of(outcome, load.plan, url=running.base_url, model=load.model, stream=load.stream)


def _open_plan(streams: int) -> Plan:
    return Plan(clients=streams, requests=streams, ramp_s=3.0)


def open_streams(
    name: str, running: Running, load: Load, sending: Callable[[Plan, Callable[[Any], None]], Outcome]
) -> Memory:
    """KiB per open stream: the most memory while they are open, less what there was before."""
    pid, most = running.process.pid, 0.0
    rest = rss_mb(pid)

    def look(_: Any) -> None:
        nonlocal most
        most = max(most, rss_mb(pid))

    outcome = sending(load.plan, look)
    streams = load.plan.clients
    grown = max(0.0, most - rest) * 1024 / streams
    return Memory(name, streams, round(rest, 1), round(grown, 1), outcome.tally.errors.total())
