"""The story of one request: resolve, admit, forward, relay & meter, settle. Read this first.

    decode → authenticate (both in ``web/completions.py``) → resolve → admit → forward → relay & meter → settle

A request *reserves* before its first upstream byte and *settles* after its last one. The settlement is a plain,
synchronous put from ``finally``: whatever ends a request (an exception, a cancellation, a client that leaves), the
meter knows what it came to. See docs/ledger.md for the rules and ARCHITECTURE.md for the words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streamrouter.clock import Clock
from streamrouter.config.schema import Config, SurfaceConfig, UpstreamConfig
from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger, Replayed
from streamrouter.ledger.records import Reserve
from streamrouter.ledger.repeats import MOST_STORED_BYTES
from streamrouter.ops.metrics import Metrics
from streamrouter.ops.tracing import Tracing
from streamrouter.policy.catalog import Catalog, Model, Target
from streamrouter.policy.counters import Counters
from streamrouter.policy.meter import Meter
from streamrouter.policy.naming import namings
from streamrouter.policy.topups import suggested
from streamrouter.relay.draining import Drains
from streamrouter.relay.port import Port
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import Sink
from streamrouter.relay.stream import Relay
from streamrouter.relay.ticker import Ticker
from streamrouter.request import Caller, Reply, Request
from streamrouter.upstream.dispatch import ClientGone, Dispatch
from streamrouter.upstream.exchange import Exchange
from streamrouter.upstream.verdicts import error_event as error_verdict
from streamrouter.upstream.verdicts import unusable
from streamrouter.wire.answer import Answer, BadAnswer, decode_answer
from streamrouter.wire.chat import Call, forward_body
from streamrouter.wire.chunk import texts
from streamrouter.wire.dialect import Dialect, identity_of
from streamrouter.wire.refusals import error_event
from streamrouter.wire.splice import Splicer
from streamrouter.wire.usage import usage_json

T = TypeVar("T")
_THREAD_BYTES = 64 * 1024


class Gateway:
    """Serves calls. Everything it uses is given; nothing is global."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        dispatch: Dispatch,
        counters: Counters,
        metrics: Metrics,
        clock: Clock,
        before: Gateway | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``before``: the gateway of the configuration that this one replaces. What it serves is ours to stop."""
        self.catalog = Catalog(config)
        self.namings = namings(config, self.catalog)
        self.dialects = {surface.name: Dialect(surface) for surface in config.surface}
        self._topups = {surface.name: suggested(surface) for surface in config.surface}
        self.ledger = ledger
        self.dispatch = dispatch
        self.counters = counters
        self.metrics = metrics
        self.clock = clock
        self.in_flight: dict[str, Request] = before.in_flight if before else {}
        self.tracing = tracing
        self.serving = 0  # requests that came in under this configuration and are not over
        self._drains: Drains = before._drains if before else Drains()
        self._server = config.server
        self._store_replies = config.idempotency.store_replies
        self._lease_block = config.ledger.lease_tokens
        deadlines = [self._server.keepalive_s, self._server.commit_status_s]
        for upstream in config.upstreams.values():
            deadlines += [upstream.idle_s, upstream.usage_wait_s, upstream.stream_total_s, upstream.drain_s]
        self._ticker = Ticker(clock, period_s=min(1.0, max(0.01, min(deadlines) / 10)))

    async def serve(self, call: Call, caller: Caller, reply: Reply) -> None:
        """One call from the resolved model to the settlement. Raises Refusal while the status is not committed."""
        dialect = self.dialects[caller.surface.name]
        catalog = self.catalog_of(caller.surface)
        model = catalog.resolve(call.model, caller.account.models, caller.key.models)
        if call.stream and not model.streaming:
            raise Refusal("invalid_value", f"The model {model.id} does not stream. Send stream: false.", param="stream")
        if dialect.fits or model.defaults:
            dialect.fit(call, model.id, model.defaults)
        try:
            request = await self._admit(model, call, caller, dialect)
        except Replayed as replayed:
            identity = [(b"x-request-id", call.id.encode("ascii"))] if dialect.id_in_header else []
            await reply.whole(replayed.stored.body, [*identity, (b"idempotent-replayed", b"true")])
            return
        self.in_flight[call.id] = request
        try:
            if call.stream:
                await self._stream(request, reply)
            else:
                await self._answer(request, reply)
        except Refusal as refusal:
            request.meter.end(refusal.code)
            raise
        finally:
            del self.in_flight[call.id]
            if not request.hold.closed:
                self.ledger.settle(request.hold, request.ending())
            request.forget()

    def catalog_of(self, surface: SurfaceConfig) -> Catalog:
        """The models of a surface, under its names."""
        return self.namings.get(surface.name) or self.catalog

    async def _admit(self, model: Model, call: Call, caller: Caller, dialect: Dialect) -> Request:
        """Count the prompt, reserve what the request may come to at most; durable when this returns."""
        count = await self.counters.prompt(model, call, caller.account.id)
        if count.local >= model.context_length:
            raise Refusal(
                "context_length_exceeded",
                f"This prompt has {count.local} tokens; {model.id} takes at most {model.context_length} with its "
                "answer. Shorten the messages.",
                param="messages",
            )
        count_text = await self.counters.text(model)
        ceiling = min(dialect.ceiling, model.max_output_tokens, model.context_length - count.local)
        hold = await self.ledger.reserve(
            Reserve(
                id=call.id,
                key_id=caller.key.id,
                model=model.id,
                surface=caller.surface.name,
                input_tokens=count.bound,
                limit=min(call.max_tokens or dialect.default_max_tokens or model.default_max_tokens, ceiling),
                requested=call.max_tokens,
                n=call.n,
                price=model.price,
                prepaid=caller.surface.billing == "prepaid",
                stream=call.stream,
                exact=model.exact,
                idempotency=caller.idempotency,
                topup_usd=self._topups[caller.surface.name],
            )
        )
        hold.client_id = caller.client_request_id
        meter = Meter(
            count=count_text,
            local_input=count.local,
            r_input=hold.r_input,
            r_output=hold.r_output,
            n=call.n,
            lease=hold.lease,
            exact=model.exact,
        )
        return Request(model, call, caller, dialect, hold, meter, self.clock)

    async def _answer(self, request: Request, reply: Reply) -> None:
        """Read the upstream to its end (the client may leave, the answer is paid for), settle, and only then answer."""
        meter = request.meter

        async def accept(exchange: Exchange, config: UpstreamConfig) -> tuple[bytes, Answer]:
            return await _read_answer(exchange, config, meter)

        try:
            body, answer = await self._forward(request, accept)
        except ClientGone:  # nobody watches a whole answer's client: it was stopped
            assert request.stopped is not None
            raise request.stopped from None
        for choice in answer.choices or ():
            for channel, text in texts(choice.message):
                meter.add_text(choice.index, channel, text)
        if len(answer.usage) > 4:
            meter.add_usage(answer.usage)
        meter.end("finished")
        if len(body) > _THREAD_BYTES:
            await asyncio.to_thread(meter.recount)
        finished = self._finished(request, body)
        kept = self._store_replies and request.caller.idempotency is not None and len(finished) <= MOST_STORED_BYTES
        await self.ledger.settle_durably(request.hold, request.ending(), finished if kept else None)
        await reply.whole(finished, request.headers())

    def _finished(self, request: Request, body: bytes) -> bytes:
        """The answer in the words of its surface, completed where that is asked for."""
        dialect, call_id = request.dialect, request.call.id
        missing, told = {}, None
        if dialect.completes:
            missing = identity_of(call_id, self.clock.now_ns() // 1_000_000_000)
            usage, source = request.meter.usage()
            told = usage_json(usage) if source != "upstream" else None
        return dialect.answer(body, request.model.shown, call_id, missing, told)

    async def _stream(self, request: Request, reply: Reply) -> None:
        """Relay until the stream has ended. A failure before the status is committed is raised."""
        call, hold, meter = request.call, request.hold, request.meter
        response = RelayResponse(lambda sink: self._relay(request, relay, sink))
        port = Port(
            monotonic=self.clock.monotonic,
            start=lambda sink: response.start(sink, request.headers()),
            settle=lambda: self.ledger.settle(hold, request.ending()),
            extend=lambda lease, urgent: self.ledger.extend(hold, lease, urgent=urgent),
            hang_up=request.patience.hang_up,
            error_event=lambda refusal: error_event(refusal, call.id, request.dialect.style),
            lease_block=self._lease_block,
            keepalive_s=self._server.keepalive_s,
            commit_status_s=self._server.commit_status_s,
            drains=self._drains,
        )
        created = self.clock.now_ns() // 1_000_000_000
        splicer = Splicer(request.model.shown, call.id, created, attach=request.dialect.id_in_first_chunk)
        request.relay = relay = Relay(port, meter, splicer, include_usage=call.include_usage)
        hold.on_lease = lambda: relay.leased(hold)
        self.metrics.stream_opened()
        try:
            await reply.stream(response)
        finally:
            self.metrics.stream_closed()

    async def _relay(self, request: Request, relay: Relay, sink: Sink) -> None:
        """Forward, then wait for the end. Everything in between happens in the upstream's read callback."""
        relay.attach(sink)
        self._ticker.add(relay)
        try:
            await self._forward(request, relay.accept)
            await relay.done
        except ClientGone:
            if relay.stopped is not None:
                _stopped(relay, relay.stopped)
        except Refusal as refusal:
            _stopped(relay, refusal)
        finally:
            relay.release()

    async def _forward(self, request: Request, accept: Callable[[Exchange, UpstreamConfig], Awaitable[T]]) -> T:
        """Open the model's upstream: try, retry, fall back, until ``accept`` has taken an answer."""
        call, caller = request.call, request.caller

        def body(target: Target, config: UpstreamConfig) -> bytes:
            return forward_body(
                call,
                model=target.model,
                limit=request.hold.limit,
                limit_field=config.max_tokens_field or "max_tokens",
                ask_usage=config.ask_usage is not False,
                stream=call.stream,
            )

        headers = {"x-request-id": call.id}
        trace = caller.traceparent if self.tracing is None else self.tracing.begin(request.begun())
        if trace:
            headers["traceparent"] = trace
        return await self.dispatch.open(
            request.model,
            stream=call.stream,
            body=body,
            headers=headers,
            meter=request.meter,
            patience=request.patience,
            accept=accept,
            attempt_s=request.dialect.attempt_timeout_s,
        )


def _stopped(relay: Relay, refusal: Refusal) -> None:
    """A failure is an HTTP status until one is committed, and an error event from then on."""
    if not relay.committed:
        raise refusal
    relay.fail(refusal)


async def _read_answer(exchange: Exchange, config: UpstreamConfig, meter: Meter) -> tuple[bytes, Answer]:
    """The whole body, decoded. Raises Upstreamed for what cannot be used, a plain Refusal for what is too large."""
    if exchange.headers.get("content-encoding", "identity").lower() != "identity":
        exchange.close()
        raise unusable("it is compressed")
    body, whole = await exchange.read(config.max_answer_bytes)
    if not whole:
        exchange.close()
        meter.whole_output = True  # somebody was paid for all this: the hold is charged whole (F31)
        most = config.max_answer_bytes // (1024 * 1024)
        raise Refusal("upstream_invalid_response", f"The upstream's answer is larger than {most} MiB. Ask for less.")
    try:
        answer = decode_answer(body)
    except BadAnswer:
        raise unusable("it is not a chat completion") from None
    if len(answer.error) > 4 and not answer.choices:
        raise error_verdict(bytes(answer.error))
    return body, answer
