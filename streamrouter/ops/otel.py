"""Spans through OpenTelemetry's SDK: names and attributes are the semantic conventions of generative AI (1.37).

Where they are sent, how they are sampled and what the service is called is said by the standard variables
(``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME``, ``OTEL_SDK_DISABLED``, …). The only
exporter is OTLP over HTTP; it sends from a thread of its own. No attribute holds a prompt, an answer, a key or a user.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamrouter import __version__
from streamrouter.ops.tracing import Begun, Ended

CLOSE_S = 3.0
_MS_NS = 1_000_000
_UNKNOWN = "unknown"
_propagator = TraceContextTextMapPropagator()


class _Open:
    """A span under way, and the attempts of its request that failed: (Unix ns, upstream, code)."""

    def __init__(self, span: Span, began_ns: int) -> None:
        self.span = span
        self.began_ns = began_ns
        self.faults: list[tuple[int, str, str]] = []


class OtelTracing:
    """``tracing.Tracing``. ``give_up`` ends the exporter's retries at once."""

    def __init__(self, provider: TracerProvider, give_up: Callable[[], None]) -> None:
        self._provider = provider
        self._give_up = give_up
        self._tracer = provider.get_tracer("streamrouter", __version__)
        self._open: dict[str, _Open] = {}

    def begin(self, request: Begun) -> str:
        attributes: dict[str, str | int | bool] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _UNKNOWN,  # of the upstream that serves it: known at the end
            "gen_ai.request.model": request.model,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.stream": request.stream,
            "streamrouter.request_id": request.id,
            "streamrouter.surface": request.surface,
        }
        if request.choices != 1:
            attributes["gen_ai.request.choice.count"] = request.choices
        span = self._tracer.start_span(
            f"chat {request.model}",
            _propagator.extract({"traceparent": request.parent}),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=request.began_ns,
        )
        self._open[request.id] = _Open(span, request.began_ns)
        sent: dict[str, str] = {}
        _propagator.inject(sent, set_span_in_context(span))
        return sent.get("traceparent", request.parent)

    def fault(self, request_id: str, upstream: str, code: str) -> None:
        found = self._open.get(request_id)
        if found is not None:
            found.faults.append((time.time_ns(), upstream, code))

    def ended(self, end: Ended) -> None:
        found = self._open.pop(end.id, None)
        if found is None:
            return
        span, end_ns = found.span, found.began_ns + end.duration_ms * _MS_NS
        span.set_attributes(
            {
                "gen_ai.provider.name": end.upstream or _UNKNOWN,
                "gen_ai.usage.input_tokens": end.input_tokens,
                "gen_ai.usage.output_tokens": end.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": end.cached_tokens,
                "streamrouter.cost_usd": end.cost_usd,
                "streamrouter.end": end.reason,
                "streamrouter.usage_source": end.source,
            }
        )
        self._tell_faults(found, end)
        if end.ttft_ms is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", end.ttft_ms / 1000)
            span.add_event("first_token", timestamp=found.began_ns + end.ttft_ms * _MS_NS)
        span.add_event("end", {"reason": end.reason}, timestamp=end_ns)
        if end.failed:
            span.set_attribute("error.type", end.reason)
            span.set_status(Status(StatusCode.ERROR, end.reason))
        span.end(end_ns)

    def _tell_faults(self, found: _Open, end: Ended) -> None:
        """A failed attempt is a fall-back where another one followed it."""
        for number, (at_ns, upstream, code) in enumerate(found.faults, start=1):
            last = number == len(found.faults) and end.reason == code
            name = "upstream_failed" if last else "fall_back"
            found.span.add_event(name, {"upstream": upstream, "reason": code}, timestamp=at_ns)

    def refused(self, request_id: str, code: str, parent: str) -> None:
        if request_id in self._open:
            return
        span = self._tracer.start_span(
            "chat",
            _propagator.extract({"traceparent": parent}),
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": _UNKNOWN,
                "streamrouter.request_id": request_id,
                "error.type": code,
            },
        )
        span.set_status(Status(StatusCode.ERROR, code))
        span.add_event("end", {"reason": code})
        span.end()

    def close(self, patience_s: float = CLOSE_S) -> None:
        """Send what waits. A collector that does not answer is given up after ``patience_s`` (the SDK's own patience
        is half a minute, which is longer than most supervisors wait)."""
        timer = threading.Timer(patience_s, self._give_up)
        timer.daemon = True
        timer.start()
        self._provider.shutdown()
        timer.cancel()


def open_tracing(environ: Mapping[str, str], processor: SpanProcessor | None = None) -> OtelTracing:
    """Tracing as the environment says (the SDK reads it itself); ``processor`` None: OTLP over HTTP, in batches."""
    own = {SERVICE_VERSION: __version__}
    if not (environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")):
        own[SERVICE_NAME] = "streamrouter"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(processor or BatchSpanProcessor(exporter))
    return OtelTracing(provider, exporter.shutdown)
