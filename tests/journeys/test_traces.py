"""Traces of a real server: spans over OTLP with first token, fall-back and end; the upstream is in the same trace."""

from __future__ import annotations

from pathlib import Path

from tests.support.collector import Collector, attributes
from tests.support.rig import PROVIDER_KEY, call, rig
from tests.support.upstream import Seen, completion, streamed

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
TWO = """
[tracing]
enabled = true

[upstreams.dead]
base_url = "http://127.0.0.1:9/v1"

[models.two]
upstream_model = "up-model"
targets = [{ upstream = "dead" }, { upstream = "main", rank = 1 }]
"""


async def busy(seen: Seen) -> None:
    await seen.json({"error": {"message": "busy"}}, status="503 Service Unavailable")


async def test_every_request_is_a_span_in_the_trace_of_its_client(tmp_path: Path) -> None:
    with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "mine"}
        async with rig(tmp_path, more=TWO, env=environment) as rigged:
            rigged.upstream.queue = [streamed([" a", " b"]), streamed([" c"]), busy]
            first = await rigged.post(call(user="canary-user"), headers=TRACED)
            second = await rigged.post(call(model="two"))
            failed = await rigged.post(call())
            refused = await rigged.post(call(model="none"), headers=TRACED)
            assert [reply.status for reply in (first, second, failed, refused)] == [200, 200, 502, 404]
            rigged.upstream.script = _whole
            assert (await rigged.post(call(False))).status == 200
            await rigged.settled()
            sent = [seen.headers["traceparent"].split("-") for seen in rigged.seen]
            assert rigged.server.terminate() == 0
        spans = {attributes(span)["streamrouter.request_id"]: span for span in collector.spans}
    assert len(spans) == len(collector.spans) == 5

    span = spans[first.headers["x-request-id"]]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert [event.name for event in span.events] == ["first_token", "end"]
    assert attributes(span)["gen_ai.provider.name"] == "main"
    assert (attributes(span)["gen_ai.usage.input_tokens"], attributes(span)["gen_ai.usage.output_tokens"]) == (7, 2)
    assert sent[0][1:3] == [TRACE, span.span_id.hex()]

    span = spans[second.headers["x-request-id"]]
    assert [event.name for event in span.events] == ["fall_back", "first_token", "end"]
    assert attributes(span.events[0]) == {"upstream": "dead", "reason": "upstream_unreachable"}
    assert sent[1][1:3] == [span.trace_id.hex(), span.span_id.hex()]

    span = spans[failed.headers["x-request-id"]]
    assert [event.name for event in span.events] == ["upstream_failed", "end"]
    assert attributes(span)["error.type"] == failed.error["code"]

    span = spans[refused.headers["x-request-id"]]
    assert (span.trace_id.hex(), attributes(span)["error.type"]) == (TRACE, "model_not_found")
    for secret in (PROVIDER_KEY, rigged.server.key, "Say hello", "canary-user", " a b"):
        assert secret.encode() not in collector.raw


async def _whole(seen: Seen) -> None:
    await seen.json(completion("Hi.", 7, 2))


async def test_without_tracing_the_trace_of_the_client_is_forwarded_as_it_is(tmp_path: Path) -> None:
    async with rig(tmp_path) as rigged:
        rigged.upstream.script = streamed([" a"])
        await rigged.post(call(), headers=TRACED)
        await rigged.post(call())
        assert [seen.headers.get("traceparent") for seen in rigged.seen] == [TRACED["traceparent"], None]
