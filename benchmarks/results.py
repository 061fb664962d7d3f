"""A recorded comparison: every round as it was, and the medians that tables, charts and bars are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from streamrouter.bench.load import Plan
from streamrouter.bench.report import Report

SCHEMA = 1
DIRECT = "direct"
PATIENCE_S = 180.0  # a gateway may be saturated; what it costs is known when all is through
FRAME_EVENTS = 3  # of a stream, beside its tokens: the role, the finish reason, the usage


class Load(msgspec.Struct, frozen=True):
    """What is asked of every gateway. A unit of work is an event of the upstream's (streams) or a request."""

    name: str
    title: str
    model: str
    stream: bool
    tokens: int
    unit: str
    plan: Plan

    def units(self, report: Report) -> int:
        """How many were done; the same events for every gateway, however it cuts them."""
        done = report.requests - report.failed
        return done * (self.tokens + FRAME_EVENTS) if self.unit == "event" else done


def loads(scale: float = 1.0) -> list[Load]:
    """The loads of the comparison. ``scale`` makes them shorter or longer, never lighter or heavier."""
    long_s = 3.0 * scale
    paced = max(10, round(250 * scale))
    return [
        Load("paced", "200 paced streams", "paced", True, paced, "event", _once(200, ramp_s=1.0)),
        Load("whole", "whole answers, 8 in flight", "whole", False, 60, "request", _closed(8, long_s)),
        Load("whole32", "whole answers, 32 in flight", "whole", False, 60, "request", _closed(32, long_s)),
        Load("burst", "bursts of 100 events, 8 in flight", "burst", True, 100, "request", _closed(8, long_s)),
        Load("first", "50 streams/s, open loop", "paced", True, 10, "request", _due(50.0, 6 * scale)),
    ]


def _once(clients: int, ramp_s: float) -> Plan:
    return Plan(clients=clients, requests=clients, ramp_s=ramp_s, silence_s=PATIENCE_S)


def _due(rate: float, duration_s: float) -> Plan:
    return Plan(rate=rate, duration_s=duration_s, silence_s=PATIENCE_S)


def _closed(clients: int, duration_s: float) -> Plan:
    return Plan(clients=clients, duration_s=duration_s, silence_s=PATIENCE_S)


class Round(msgspec.Struct, frozen=True):
    """One load through one gateway, once. CPU in microseconds per unit, memory in MB."""

    gateway: str
    load: str
    number: int
    units: int
    cpu_us: float
    upstream_us: float
    client_us: float
    rss_mb: float
    report: Report


class Memory(msgspec.Struct, frozen=True):
    """What open streams cost a gateway that has just been started: MB before, and KiB more per stream."""

    gateway: str
    streams: int
    rest_mb: float
    kib_per_stream: float
    failed: int


class About(msgspec.Struct, frozen=True):
    """A gateway of the comparison."""

    name: str
    version: str
    built_in: str
    does: str


class Run(msgspec.Struct):
    """All of a comparison. ``at``: when it began (UTC, ISO 8601); ``skipped``: gateway → why."""

    at: str
    machine: dict[str, Any]
    gateways: list[About]
    skipped: dict[str, str]
    loads: list[Load]
    rounds: list[Round] = []
    memory: list[Memory] = []
    schema: int = SCHEMA

    def median(self, gateway: str, load: str, figure: Callable[[Round], float]) -> float | None:
        """Of all rounds; None if there is none."""
        found = [figure(each) for each in self.rounds if (each.gateway, each.load) == (gateway, load) and each.units]
        return median(found) if found else None

    def cpu_us(self, gateway: str, load: str) -> float | None:
        """CPU per unit of work."""
        return self.median(gateway, load, lambda each: each.cpu_us)

    def added_ms(self, gateway: str, load: str, figure: Callable[[Report], float]) -> float | None:
        """What the gateway adds to a latency: the median of each round's difference to the direct load beside it."""
        direct = {each.number: figure(each.report) for each in self.rounds if self._is(each, DIRECT, load)}
        found = [
            figure(each.report) - direct[each.number]
            for each in self.rounds
            if self._is(each, gateway, load) and each.number in direct and each.units
        ]
        return median(found) if found else None

    def failed(self, gateway: str) -> int:
        """Requests that failed, over all rounds."""
        return sum(each.report.failed for each in self.rounds if each.gateway == gateway)

    def rss_mb(self, gateway: str) -> float | None:
        """The most memory after any of its rounds."""
        return max((each.rss_mb for each in self.rounds if each.gateway == gateway), default=None)

    def kib_per_stream(self, gateway: str) -> float | None:
        """Memory per open stream; None if not all of them opened."""
        return next((each.kib_per_stream for each in self.memory if each.gateway == gateway and not each.failed), None)

    @staticmethod
    def _is(each: Round, gateway: str, load: str) -> bool:
        return (each.gateway, each.load) == (gateway, load)


def write(path: Path, value: Any) -> None:
    """As JSON that people can read and diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def read_run(path: Path) -> Run:
    """A recorded comparison. Raises ValueError if it is none, or of another schema; OSError."""
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Run)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: not a recorded comparison: {error}") from None
    if run.schema != SCHEMA:
        raise ValueError(f"{path}: schema {run.schema}, not {SCHEMA}")
    return run


def names(abouts: Iterable[About]) -> list[str]:
    """Of gateways."""
    return [about.name for about in abouts]
