"""What Prometheus reads. All names begin with ``streamrouter_``; labels are models, upstreams, reasons, never keys.

Recording is a few dictionary look-ups: the children of each metric are kept by their labels. Labels are bounded: a
model or upstream that is not configured is ``other``, and so is whatever comes after ``_MOST_CHILDREN``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

OTHER = "other"
_MOST_CHILDREN = 2000  # per metric: far above models × surfaces × endings of a real configuration
_NANO_PER_USD = 1e9
_TTFT_S = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 40, 60)
_DURATION_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800)
_COMMIT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

M = TypeVar("M", bound=MetricWrapperBase)


class _Children(Generic[M]):
    """The children of one metric by their label values; at most ``_MOST_CHILDREN``."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *labels: str) -> M:
        child = self._children.get(labels)
        if child is None:
            if len(self._children) >= _MOST_CHILDREN:
                labels = (OTHER,) * len(labels)
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class _WithoutCreated(Collector):
    """The registry without its ``*_created`` series: they double the page, and nothing here reads them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """One process's metrics, in a registry of their own. ``models`` and ``upstreams``: the names that are labels."""

    def __init__(self, models: Iterable[str] = (), upstreams: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._page = _WithoutCreated(self.registry)
        self.configured(models, upstreams)
        self._make_request_metrics()
        self._make_upstream_metrics()
        self._make_ledger_metrics()

    def _make_request_metrics(self) -> None:
        self._requests = _Children(self._counter("requests", "Requests by how they ended", "surface", "model", "end"))
        self._refusals = _Children(self._counter("refusals", "Requests refused, by error code", "code"))
        self._tokens = _Children(self._counter("tokens", "Tokens charged (cached is part of input)", "model", "kind"))
        self._cost = _Children(self._counter("cost_usd", "What requests came to, whatever the billing", "model"))
        self._over = _Children(self._counter("over_tokens", "Tokens beyond a reservation, not charged", "kind"))
        self._suspect = self._counter("suspect_usage", "Upstream usage that was not believed")
        self._ttft = _Children(self._histogram("ttft_seconds", "Time to the first token", _TTFT_S, "model"))
        self._duration = _Children(self._histogram("duration_seconds", "Time to the end", _DURATION_S, "model"))
        self._streams = Gauge("streamrouter_active_streams", "Streams in flight", registry=self.registry)

    def _make_upstream_metrics(self) -> None:
        self._attempts = _Children(
            self._counter("upstream_attempts", "Attempts at an upstream by their outcome", "upstream", "outcome")
        )

    def _make_ledger_metrics(self) -> None:
        self._queue = Gauge("streamrouter_ledger_queue", "Commands that wait for the writer", registry=self.registry)
        self._commit = self._histogram("ledger_commit_seconds", "Time of one group commit", _COMMIT_S)
        about = "Invariants of the books found broken at the last check (once a minute); anything but 0 is an alarm"
        self._broken = Gauge("streamrouter_ledger_invariants", about, registry=self.registry)
        self._lines = Gauge("streamrouter_log_lines_dropped", "Log lines not written", registry=self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"streamrouter_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"streamrouter_{name}", about, labels, buckets=buckets, registry=self.registry)

    def configured(self, models: Iterable[str], upstreams: Iterable[str]) -> None:
        """The names that may be labels from now on (a reload): all others are counted as ``other``."""
        self._models = frozenset(models)
        self._upstreams = frozenset(upstreams)

    def refused(self, code: str) -> None:
        """A request was refused. ``code`` is a key of ``errors.RULES``."""
        self._refusals(code).inc()

    def stream_opened(self) -> None:
        """A stream has begun; ``stream_closed`` must follow."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """A stream is over, however it ended."""
        self._streams.dec()

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
    ) -> None:
        """A request was settled (policy/endings.py). ``ttft_s`` None: no token came. Tokens are the charged ones."""
        label = model if model in self._models else OTHER
        self._requests(surface, label, end_reason).inc()
        self._tokens(label, "input").inc(input_tokens)
        self._tokens(label, "output").inc(output_tokens)
        if cached:
            self._tokens(label, "cached").inc(cached)
        if cost_nano:
            self._cost(label).inc(cost_nano / _NANO_PER_USD)  # a float, for charts: the books are elsewhere
        if over_input:
            self._over("input").inc(over_input)
        if over_output:
            self._over("output").inc(over_output)
        if source == "suspect":
            self._suspect.inc()
        if ttft_s is not None:
            self._ttft(label).observe(ttft_s)
        self._duration(label).observe(duration_s)

    def attempt(self, upstream: str, outcome: str) -> None:
        """One attempt at an upstream: ``outcome`` is ``ok`` or an error code."""
        self._attempts(upstream if upstream in self._upstreams else OTHER, outcome).inc()

    def invariants(self, broken: int) -> None:
        """The books were checked."""
        self._broken.set(broken)

    def committed(self, seconds: float) -> None:
        """One group commit of the ledger took that long."""
        self._commit.observe(seconds)

    def watch(self, ledger_queue: Callable[[], int], log_lines_dropped: Callable[[], int]) -> None:
        """Where the values come from that are read when the page is asked for."""
        self._queue.set_function(ledger_queue)
        self._lines.set_function(log_lines_dropped)

    def render(self) -> bytes:
        """The page, in Prometheus' text format 0.0.4."""
        return generate_latest(self._page)
