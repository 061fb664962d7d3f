"""The only place that joins: configuration, ledger, upstreams and clock become one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.types import ASGIApp

from streamrouter import ids
from streamrouter.admin.flights import Flights
from streamrouter.admin.watch import Watch
from streamrouter.clock import Clock
from streamrouter.config.schema import Config, UpstreamConfig
from streamrouter.errors import RULES, Refusal
from streamrouter.gateway import Gateway
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.ops.tracing import Ended, Tracing
from streamrouter.policy.counters import Counters
from streamrouter.policy.endings import Ending
from streamrouter.policy.money import nano_to_usd
from streamrouter.policy.passwords import Cost
from streamrouter.relay.resume import Replays
from streamrouter.upstream.client import HttpTransport
from streamrouter.upstream.demo import DemoTransport
from streamrouter.upstream.dispatch import Dispatch, Upstream
from streamrouter.upstream.exchange import Transport
from streamrouter.web.completions import Completions
from streamrouter.web.console.door import Door
from streamrouter.web.console.feed import Feed
from streamrouter.web.console.mount import console_of
from streamrouter.web.console.route import Site
from streamrouter.web.cors import Cors
from streamrouter.web.gate import Gate
from streamrouter.web.probes import Probes
from streamrouter.web.routes import Router
from streamrouter.web.streams import Streams
from streamrouter.web.surface import SurfacePages

DEMO = "demo:"
MOST_REPORTS = 4  # pages of requests that are read at once


def transport_of(config: UpstreamConfig) -> Transport:
    """The transport of one (resolved) upstream; must be called on the running loop."""
    return DemoTransport(config) if config.base_url.startswith(DEMO) else HttpTransport(config)


def make_upstreams(
    configs: Mapping[str, UpstreamConfig], before: Mapping[str, Upstream] | None = None
) -> dict[str, Upstream]:
    """Every upstream that has an address; one that is as it was ``before`` keeps its connections and its breaker."""
    made = {}
    for name, config in configs.items():
        old = (before or {}).get(name)
        if config.base_url:
            made[name] = old if old and old.config == config else Upstream(name, config, transport_of(config))
    return made


class App:
    """The ASGI application (``asgi``) and the parts that whoever runs it needs to reach."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        upstreams: Mapping[str, Upstream],
        clock: Clock,
        log: Log,
        metrics: Metrics,
        tracing: Tracing | None = None,
        source: str = "built in",
        password_cost: Cost | None = None,
    ) -> None:
        """``source``: the file that ``config`` is from; ``password_cost``: scrypt's parameters (None: the usual)."""
        self.draining = False  # new calls are refused
        self.leaving = False  # another process is about to go on: calls on live connections are still served
        self.ledger = ledger
        self.counters = Counters()
        self._clock = clock
        self._started_s = clock.now_ns() // 1_000_000_000
        self._retired: list[Gateway] = []  # those of earlier configurations that still serve somebody
        self._metrics = metrics
        self._tracing = tracing
        self.watch = Watch(self._started_s)
        self.dispatch = self._dispatch(upstreams)
        self.gateway = Gateway(config, ledger, self.dispatch, self.counters, metrics, clock, tracing=tracing)
        replays = Replays(config.server.resume_window_s, config.server.resume_buffer_bytes)
        self.streams = Streams(self.gateway, replays, log)
        self._log = log
        metrics.watch_serving(lambda: not self.reasons(), self.upstream_states)
        ledger.on_settled = self._settled
        self.flights = Flights(lambda: self.gateway.in_flight, self.watch)
        self.feed = Feed(self.watch, lambda: self.gateway, ledger, clock, lambda: self.draining or self.leaving)
        self._config = config
        self.site = Site(
            config=lambda: self._config,
            ledger=ledger,
            clock=clock,
            log=log,
            door=Door(clock, password_cost),
            gateway=lambda: self.gateway,
            stop_streams=self.stop_key,
            streams=self.flights,
            watch=self.watch,
            feed=self.feed,
            draining=lambda: self.draining,
            reports=asyncio.Semaphore(MOST_REPORTS),
            source=source,
        )
        self._console = console_of(self.site)
        self.router = self._router(config)
        self.asgi: ASGIApp = Gate(
            lambda scope, receive, send: self.router(scope, receive, send),
            lambda: ids.request_id(clock.now_ns()),
            lambda scope: self.router.style(scope),
        )

    def renew(self, config: Config) -> None:
        """Serve by ``config`` from the next request on; what is in flight ends with what it began with.

        An upstream that has changed or gone is closed by ``tidy``, once nobody can be using it.
        """
        self._config = config
        self._retired.append(self.gateway)
        self.dispatch = self._dispatch(make_upstreams(config.upstreams, self.dispatch.upstreams))
        self.gateway = Gateway(
            config,
            self.ledger,
            self.dispatch,
            self.counters,
            self._metrics,
            self._clock,
            before=self.gateway,
            tracing=self._tracing,
        )
        self.streams = self.streams.of(self.gateway)
        self._metrics.configured(config.models, config.upstreams)
        self.router = self._router(config)

    def _dispatch(self, upstreams: Mapping[str, Upstream]) -> Dispatch:
        return Dispatch(upstreams, self._clock, self._attempted, self._tracing.fault if self._tracing else None)

    def _attempted(self, upstream: str, outcome: str) -> None:
        self._metrics.attempt(upstream, outcome)
        self.watch.attempted(self._now_s(), upstream, outcome)

    def _now_s(self) -> int:
        return self._clock.now_ns() // 1_000_000_000

    async def warm(self) -> None:
        """Load the tokenizers that the models need, so that the first request does not wait for them."""
        for name in dict.fromkeys(model.encoding for model in self.gateway.catalog.models.values()):
            await self.counters.load(name)

    async def tidy(self) -> None:
        """Close the upstreams that only requests of earlier configurations could use, once those are over."""
        over = [gateway for gateway in self._retired if not gateway.serving]
        self._retired = [gateway for gateway in self._retired if gateway.serving]
        for upstream in _upstreams(over) - _upstreams([*self._retired, self.gateway]):
            await upstream.close()

    async def close(self) -> None:
        """Close every upstream's connections, whoever uses them."""
        for upstream in _upstreams([*self._retired, self.gateway]):
            await upstream.close()

    def _router(self, config: Config) -> Router:
        cors = Cors(config.server.cors_origins)
        clock = self._clock
        surfaces = []
        for surface in config.surface:
            completions = Completions(
                self.gateway,
                surface,
                config.server,
                clock,
                self._log,
                self._metrics,
                cors,
                lambda: self.draining,
                self.streams,
            )
            pages = SurfacePages(self.gateway, surface, cors, self._started_s, self.streams)
            surfaces.append((surface, completions, pages))
        public = config.server.metrics and config.server.metrics_port is None
        probes = Probes(self.reasons, self._metrics, serve_metrics=public)
        console = self._console if config.console.enabled else None
        return Router(surfaces, probes, cors, lambda: ids.request_id(clock.now_ns()), console)

    def machine_asgi(self) -> ASGIApp:
        """What the metrics' own listener serves: the probes, ``/metrics`` among them."""
        probes = Probes(self.reasons, self._metrics, serve_metrics=True)
        return Gate(Starlette(routes=probes.routes()), lambda: ids.request_id(self._clock.now_ns()))

    def reasons(self) -> list[str]:
        """Why new requests are not welcome; empty when they are."""
        ledger = self.ledger.health()
        found = ["draining"] if self.draining or self.leaving else []
        found += [f"ledger: {ledger}"] if ledger else []
        found += [f"clock: {self.ledger.clock_alarm}"] if self.ledger.clock_alarm else []
        return found + ([] if self.dispatch.upstreams else ["no upstream is configured"])

    def stop_streams(self, refusal: Refusal, chosen: Callable[[Hold], bool] = lambda hold: True) -> int:
        """End every (chosen) stream in flight with an error event; how many there were."""
        found = [request for request in list(self.gateway.in_flight.values()) if chosen(request.hold)]
        for request in found:
            request.stop(refusal)
        return len(found)

    def upstream_states(self) -> dict[str, str]:
        """How each upstream's breaker stands (policy/breaker.py)."""
        now = self._clock.monotonic()
        return {name: upstream.breaker.state(now) for name, upstream in self.dispatch.upstreams.items()}

    def stop_key(self, key_id: str) -> int:
        """End the streams of a key that was revoked; how many there were."""
        revoked = Refusal("invalid_api_key", "The API key of this stream was revoked.")
        return self.stop_streams(revoked, lambda hold: hold.key_id == key_id)

    def _settled(self, hold: Hold, ending: Ending, settled: Settled) -> None:
        """One log line, the metrics and the series per request, at its settlement, off the hot path."""
        self.watch.settled(self._now_s(), hold, ending, settled)
        ttft_s = None if ending.ttft_ms is None else ending.ttft_ms / 1000
        self._metrics.ended(
            surface=hold.surface,
            model=hold.model,
            end_reason=ending.reason,
            source=ending.source,
            input_tokens=settled.input_tokens,
            output_tokens=settled.output_tokens,
            cached=settled.cached_tokens,
            cost_nano=settled.cost,
            over_input=settled.over_input,
            over_output=settled.over_output,
            ttft_s=ttft_s,
            duration_s=ending.duration_ms / 1000,
            gap_p99_s=None if ending.gap_p99_ms is None else ending.gap_p99_ms / 1000,
        )
        if self._tracing is not None:
            self._tracing.ended(_traced(hold, ending, settled))
        self._log.request(
            {
                "id": hold.id,
                "client_id": hold.client_id or None,
                "status": logged_status(ending.reason),
                "user": hold.account_name,
                "key": hold.key_display,
                "surface": hold.surface,
                "model": hold.model,
                "upstream": ending.upstream,
                "end": ending.reason,
                "ttft_ms": ending.ttft_ms,
                "gap_p99_ms": ending.gap_p99_ms,
                "duration_ms": ending.duration_ms,
                "input_tokens": settled.input_tokens,
                "output_tokens": settled.output_tokens,
                "cached_tokens": settled.cached_tokens,
                "cost_usd": nano_to_usd(settled.cost),
                "usage_source": ending.source,
            }
        )


def _upstreams(gateways: list[Gateway]) -> set[Upstream]:
    return {upstream for gateway in gateways for upstream in gateway.dispatch.upstreams.values()}


def _traced(hold: Hold, ending: Ending, settled: Settled) -> Ended:
    return Ended(
        id=hold.id,
        reason=ending.reason,
        failed=ending.reason in RULES,
        upstream=ending.upstream,
        source=ending.source,
        input_tokens=settled.input_tokens,
        output_tokens=settled.output_tokens,
        cached_tokens=settled.cached_tokens,
        cost_usd=nano_to_usd(settled.cost),
        ttft_ms=ending.ttft_ms,
        duration_ms=ending.duration_ms,
    )


def logged_status(reason: str) -> int:
    """The status that a request's log line carries: 499 where the client left, the code's own where it failed."""
    if reason == "client_left":
        return 499
    return RULES[reason].status if reason in RULES else 200
