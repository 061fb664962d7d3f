"""Spans as OpenTelemetry has them: names, attributes, events, parents; in memory, and over a real OTLP connection."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from streamrouter import __version__
from streamrouter.ops.otel import open_tracing
from streamrouter.ops.tracing import Begun, Ended
from tests.support.collector import Collector, attributes

NOON_NS = 1_780_000_000_000_000_000
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
BEGUN = Begun(
    id="req_1",
    parent=TRACEPARENT,
    began_ns=NOON_NS,
    surface="main",
    model="org/m:1",
    max_tokens=100,
    choices=1,
    stream=True,
)
ENDED = Ended(
    id="req_1",
    reason="finished",
    failed=False,
    upstream="up",
    source="upstream",
    input_tokens=10,
    output_tokens=20,
    cached_tokens=4,
    cost_usd="0.000013",
    ttft_ms=150,
    duration_ms=2000,
)


class Spans:
    """Tracing whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = open_tracing({}, SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def one(self) -> ReadableSpan:
        [span] = self.all
        return span


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any], int]]:
    return [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events]


def test_a_request_is_one_span_with_the_names_of_the_conventions() -> None:
    spans = Spans()
    sent = spans.tracing.begin(BEGUN)
    assert spans.all == []
    spans.tracing.ended(ENDED)
    span = spans.one
    assert (span.name, span.kind, span.status.status_code) == ("chat org/m:1", SpanKind.CLIENT, StatusCode.UNSET)
    assert (span.start_time, span.end_time) == (NOON_NS, NOON_NS + 2_000_000_000)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "up",
        "gen_ai.request.model": "org/m:1",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.15,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "streamrouter.request_id": "req_1",
        "streamrouter.surface": "main",
        "streamrouter.cost_usd": "0.000013",
        "streamrouter.end": "finished",
        "streamrouter.usage_source": "upstream",
    }
    assert events(span) == [
        ("first_token", {}, NOON_NS + 150_000_000),
        ("end", {"reason": "finished"}, NOON_NS + 2_000_000_000),
    ]
    assert span.context is not None and span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert sent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert dict(span.resource.attributes)["service.name"] == "streamrouter"
    assert dict(span.resource.attributes)["service.version"] == __version__


def test_without_a_parent_it_begins_a_trace() -> None:
    spans = Spans()
    sent = spans.tracing.begin(replace(BEGUN, parent="", choices=3))
    spans.tracing.ended(ENDED)
    span = spans.one
    assert span.parent is None and span.context is not None
    assert sent.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert (span.attributes or {})["gen_ai.request.choice.count"] == 3


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("finished", ["fall_back", "fall_back", "end"]),
        ("upstream_timeout", ["fall_back", "upstream_failed", "end"]),
    ],
)
def test_an_attempt_that_failed_is_a_fall_back_where_another_followed(reason: str, names: list[str]) -> None:
    spans = Spans()
    spans.tracing.begin(BEGUN)
    spans.tracing.fault("req_1", "first", "upstream_unreachable")
    spans.tracing.fault("req_1", "second", "upstream_timeout")
    spans.tracing.fault("req_unknown", "first", "upstream_timeout")
    spans.tracing.ended(replace(ENDED, reason=reason, failed=reason != "finished", ttft_ms=None))
    found = events(spans.one)
    assert [name for name, _, _ in found] == names
    assert found[0][1] == {"upstream": "first", "reason": "upstream_unreachable"}


def test_a_failure_has_its_code_and_a_client_that_left_is_none() -> None:
    spans = Spans()
    spans.tracing.begin(BEGUN)
    spans.tracing.ended(replace(ENDED, reason="upstream_truncated", failed=True))
    spans.tracing.begin(BEGUN)
    spans.tracing.ended(replace(ENDED, reason="client_left", upstream=""))
    failed, left = spans.all
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "upstream_truncated")
    assert (failed.attributes or {})["error.type"] == "upstream_truncated"
    assert left.status.status_code is StatusCode.UNSET
    assert "error.type" not in (left.attributes or {})


def test_a_refusal_is_a_span_unless_its_request_has_one() -> None:
    spans = Spans()
    spans.tracing.refused("req_0", "rate_limit_exceeded", TRACEPARENT)
    spans.tracing.begin(BEGUN)
    spans.tracing.refused("req_1", "upstream_timeout", TRACEPARENT)
    assert [(span.name, (span.attributes or {})["error.type"]) for span in spans.all] == [
        ("chat", "rate_limit_exceeded")
    ]
    spans.tracing.ended(ENDED)
    assert len(spans.all) == 2


def test_an_end_without_a_beginning_is_none() -> None:
    spans = Spans()
    spans.tracing.ended(ENDED)
    assert spans.all == []


def test_the_standard_variables_name_the_service_and_switch_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    exporter = InMemorySpanExporter()
    tracing = open_tracing({"OTEL_SERVICE_NAME": "mine"}, SimpleSpanProcessor(exporter))
    tracing.begin(BEGUN)
    tracing.ended(ENDED)
    [span] = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == "mine"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing = open_tracing({}, SimpleSpanProcessor(exporter))
    assert tracing.begin(BEGUN) == TRACEPARENT
    tracing.ended(ENDED)
    assert len(exporter.get_finished_spans()) == 1


def test_spans_leave_over_otlp_when_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracing = open_tracing({})
        tracing.begin(BEGUN)
        tracing.ended(ENDED)
        tracing.close()
        [span] = collector.spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("chat org/m:1", TRACE, PARENT)
    assert attributes(span)["gen_ai.usage.output_tokens"] == 20
    assert [event.name for event in span.events] == ["first_token", "end"]


def test_a_collector_that_is_not_there_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = open_tracing({})
    for _ in range(1500):  # three batches, each of which would be tried for seven seconds
        tracing.begin(BEGUN)
        tracing.ended(ENDED)
    tracing.close(patience_s=0.01)
    assert [thread.name for thread in threading.enumerate() if "Otel" in thread.name] == []
