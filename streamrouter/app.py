"""The only place that joins: configuration, ledger, upstreams and clock become one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp

from streamrouter import ids
from streamrouter.clock import Clock
from streamrouter.config.schema import Config, UpstreamConfig
from streamrouter.errors import RULES, Refusal
from streamrouter.gateway import Gateway
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.policy.counters import Counters
from streamrouter.policy.endings import Ending
from streamrouter.policy.money import nano_to_usd
from streamrouter.relay.resume import Replays
from streamrouter.upstream.client import HttpTransport
from streamrouter.upstream.demo import DemoTransport
from streamrouter.upstream.dispatch import Dispatch, Upstream
from streamrouter.upstream.exchange import Transport
from streamrouter.web.completions import Completions
from streamrouter.web.cors import Cors
from streamrouter.web.gate import Gate
from streamrouter.web.probes import Probes
from streamrouter.web.routes import Router
from streamrouter.web.streams import Streams
from streamrouter.web.surface import SurfacePages

DEMO = "demo:"


def transport_of(config: UpstreamConfig) -> Transport:
    """The transport of one (resolved) upstream; must be called on the running loop."""
    return DemoTransport(config) if config.base_url.startswith(DEMO) else HttpTransport(config)


def make_upstreams(configs: Mapping[str, UpstreamConfig]) -> dict[str, Upstream]:
    """Every upstream that has an address."""
    return {name: Upstream(name, config, transport_of(config)) for name, config in configs.items() if config.base_url}


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
    ) -> None:
        self.draining = False
        self.ledger = ledger
        self.counters = Counters()
        self.dispatch = Dispatch(upstreams, clock, metrics.attempt)
        self.gateway = Gateway(config, ledger, self.dispatch, self.counters, metrics, clock)
        replays = Replays(config.server.resume_window_s, config.server.resume_buffer_bytes)
        self.streams = Streams(self.gateway, replays, log)
        self._log = log
        self._metrics = metrics
        ledger.on_settled = self._settled
        router = self._router(config, clock)
        self.asgi: ASGIApp = Gate(router, lambda: ids.request_id(clock.now_ns()), router.style)

    def _router(self, config: Config, clock: Clock) -> Router:
        cors = Cors(config.server.cors_origins)
        started_s = clock.now_ns() // 1_000_000_000
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
            pages = SurfacePages(self.gateway, surface, cors, started_s, self.streams)
            surfaces.append((surface, completions, pages))
        probes = Probes(self.reasons, self._metrics, serve_metrics=config.server.metrics)
        self.router = Router(surfaces, probes, cors, lambda: ids.request_id(clock.now_ns()))
        return self.router

    def reasons(self) -> list[str]:
        """Why new requests are not welcome; empty when they are."""
        ledger = self.ledger.health()
        found = ["draining"] if self.draining else []
        found += [f"ledger: {ledger}"] if ledger else []
        found += [f"clock: {self.ledger.clock_alarm}"] if self.ledger.clock_alarm else []
        return found + ([] if self.dispatch.upstreams else ["no upstream is configured"])

    def stop_streams(self, refusal: Refusal, chosen: Callable[[Hold], bool] = lambda hold: True) -> int:
        """End every (chosen) stream in flight with an error event; how many there were."""
        found = [request for request in list(self.gateway.in_flight.values()) if chosen(request.hold)]
        for request in found:
            request.stop(refusal)
        return len(found)

    def _settled(self, hold: Hold, ending: Ending, settled: Settled) -> None:
        """One log line and the metrics per request, at its settlement, off the hot path."""
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
        )
        self._log.request(
            {
                "id": hold.id,
                "client_id": hold.client_id or None,
                "status": logged_status(ending.reason),
                "user": hold.account_name,
                "key": hold.key_display,
                "model": hold.model,
                "upstream": ending.upstream,
                "end": ending.reason,
                "ttft_ms": ending.ttft_ms,
                "duration_ms": ending.duration_ms,
                "input_tokens": settled.input_tokens,
                "output_tokens": settled.output_tokens,
                "cached_tokens": settled.cached_tokens,
                "cost_usd": nano_to_usd(settled.cost),
                "usage_source": ending.source,
            }
        )


def logged_status(reason: str) -> int:
    """The status that a request's log line carries: 499 where the client left, the code's own where it failed."""
    if reason == "client_left":
        return 499
    return RULES[reason].status if reason in RULES else 200
