"""What Prometheus reads. Labels are models, upstreams, reasons, never keys; docs/operating.md explains each name.

Recording is a few dictionary look-ups (ops/tallies.py). Labels are bounded: a model or upstream that is not configured
is ``other``. All names but those of the process itself begin with ``streamrouter_``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamrouter import __version__
from streamrouter.ops.tallies import OTHER, Labels, Level, Spread, Tally, families

UPSTREAM_STATES = ("closed", "cooling", "trial")  # policy/breaker.py
_NANO = 1e-9
_TTFT_S = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 40, 60)
_GAP_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DURATION_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800)
_COMMIT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

M = TypeVar("M", Tally, Spread, Level)


class Metrics(Collector):
    """One process's metrics, in a registry of their own. ``models`` and ``upstreams``: the names that are labels."""

    def __init__(self, models: Iterable[str] = (), upstreams: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._all: list[Tally | Spread | Level] = []
        self._active = 0
        self._broken = 0
        self.configured(models, upstreams)
        self._make_request_metrics()
        self._make_upstream_metrics()
        self._make_ledger_metrics()
        self._make_process_metrics()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def _make_request_metrics(self) -> None:
        self._requests = self._tally("requests", "Requests by how they ended", "surface", "model", "end")
        self._refusals = self._tally("refusals", "Requests refused, by error code", "code")
        self._tokens = self._tally("tokens", "Tokens charged (cached is part of input)", "model", "kind")
        about = "What requests came to, whatever the billing"
        self._cost = self._keep(Tally("cost_usd", about, "model", unit=_NANO))  # for charts: the books are elsewhere
        self._over = self._tally("over_tokens", "Tokens beyond a reservation, not charged", "kind")
        self._suspect = self._tally("suspect_usage", "Upstream usage that was not believed")
        self._ttft = self._keep(Spread("ttft_seconds", "Time to the first token", _TTFT_S, "model"))
        about = "The 99th percentile of the gaps inside a stream, once per stream"
        self._gap = self._keep(Spread("gap_p99_seconds", about, _GAP_S, "model"))
        self._duration = self._keep(Spread("duration_seconds", "Time to the end", _DURATION_S, "model"))
        self._level("active_streams", "Streams in flight").read = lambda: {(): self._active}

    def _make_upstream_metrics(self) -> None:
        about = "Attempts at an upstream by their outcome (ok, or an error code)"
        self._attempts = self._tally("upstream_attempts", about, "upstream", "outcome")
        self._states = self._level("upstream_state", "1 for the state of its breaker", "upstream", "state")

    def _make_ledger_metrics(self) -> None:
        self._queue = self._level("ledger_queue", "Operations that wait for a commit")
        self._commit = self._keep(Spread("ledger_commit_seconds", "Time of one group commit", _COMMIT_S))
        about = "Invariants of the books found broken at the last check (once a minute); anything but 0 is an alarm"
        self._level("ledger_invariants", about).read = lambda: {(): self._broken}

    def _make_process_metrics(self) -> None:
        self._lag = self._keep(Spread("loop_lag_seconds", "How late a timer of the event loop was", _LAG_S))
        self._ready = self._level("ready", "1 while new requests are welcome (as /readyz)")
        self._lines = self._level("log_lines_dropped", "Log lines that could not be written")
        self._reloads = self._tally("config_reloads", "Reloads of the configuration", "outcome")
        build: dict[Labels, float] = {(__version__, platform.python_version()): 1.0}
        self._level("build_info", "Which version runs", "version", "python").read = lambda: build

    def _keep(self, metric: M) -> M:
        self._all.append(metric)
        return metric

    def _tally(self, name: str, about: str, *labels: str) -> Tally:
        return self._keep(Tally(name, about, *labels))

    def _level(self, name: str, about: str, *labels: str) -> Level:
        return self._keep(Level(name, about, *labels))

    def configured(self, models: Iterable[str], upstreams: Iterable[str]) -> None:
        """The names that may be labels from now on (a reload): all others are counted as ``other``."""
        self._models = frozenset(models)
        self._upstreams = frozenset(upstreams)

    def refused(self, code: str) -> None:
        """A request was refused. ``code`` is a key of ``errors.RULES``."""
        self._refusals.add((code,))

    def stream_opened(self) -> None:
        """A stream has begun; ``stream_closed`` must follow."""
        self._active += 1

    def stream_closed(self) -> None:
        """A stream is over, however it ended."""
        self._active -= 1

    def ended(
        self,
        surface: str,
        model: str,
        end_reason: str,
        source: str,
        input_tokens: int,
        output_tokens: int,
        cached: int,
        cost_nano: int,
        over_input: int,
        over_output: int,
        ttft_s: float | None,
        duration_s: float,
        gap_p99_s: float | None = None,
    ) -> None:
        """A request was settled (policy/endings.py). Tokens are the charged ones. ``ttft_s`` None: no token came;
        ``gap_p99_s`` None: there was no gap."""
        label = model if model in self._models else OTHER
        self._requests.add((surface, label, end_reason))
        self._tokens.add((label, "input"), input_tokens)
        self._tokens.add((label, "output"), output_tokens)
        if cached:
            self._tokens.add((label, "cached"), cached)
        if cost_nano:
            self._cost.add((label,), cost_nano)
        if over_input:
            self._over.add(("input",), over_input)
        if over_output:
            self._over.add(("output",), over_output)
        if source == "suspect":
            self._suspect.add()
        if ttft_s is not None:
            self._ttft.observe(ttft_s, label)
        if gap_p99_s is not None:
            self._gap.observe(gap_p99_s, label)
        self._duration.observe(duration_s, label)

    def attempt(self, upstream: str, outcome: str) -> None:
        """One attempt at an upstream: ``outcome`` is ``ok`` or an error code."""
        self._attempts.add((upstream if upstream in self._upstreams else OTHER, outcome))

    def invariants(self, broken: int) -> None:
        """The books were checked."""
        self._broken = broken

    def committed(self, seconds: float) -> None:
        """One group commit of the ledger took that long."""
        self._commit.observe(seconds)

    def lagged(self, seconds: float) -> None:
        """A timer of the event loop was that late."""
        self._lag.observe(seconds)

    def reloaded(self, outcome: str) -> None:
        """A reload: ``taken`` or ``refused``."""
        self._reloads.add((outcome,))

    def watch(self, ledger_queue: Callable[[], int], log_lines_dropped: Callable[[], int]) -> None:
        """Where the values come from that are read when the page is asked for."""
        self._queue.read = lambda: {(): ledger_queue()}
        self._lines.read = lambda: {(): log_lines_dropped()}

    def watch_serving(self, ready: Callable[[], bool], upstream_states: Callable[[], Mapping[str, str]]) -> None:
        """Likewise, of what serves; ``upstream_states`` by the names of the upstreams (``UPSTREAM_STATES``)."""
        self._ready.read = lambda: {(): ready()}
        self._states.read = lambda: {
            (name, each): float(each == state) for name, state in upstream_states().items() for each in UPSTREAM_STATES
        }

    def names(self) -> list[str]:
        """What is on the page by the process's own making: names of families, as Prometheus has them."""
        return [family.name for family in self.collect()]

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        return families(self._all)

    def render(self) -> bytes:
        """The page, in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)
