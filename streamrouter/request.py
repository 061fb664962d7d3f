"""One call on its way: who asks, what is held for it, what it has come to, how it is answered."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from streamrouter.clock import Clock
from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.ledger.records import Account, Hold, Idempotency, Key
from streamrouter.ops.tracing import Begun
from streamrouter.policy.catalog import Model
from streamrouter.policy.endings import Ending
from streamrouter.policy.meter import Meter
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import Headers
from streamrouter.relay.stream import Relay
from streamrouter.upstream.dispatch import Patience
from streamrouter.wire.chat import Call
from streamrouter.wire.dialect import Dialect


class Caller(Struct, frozen=True):
    """Who asks, and through which surface."""

    key: Key
    account: Account
    surface: SurfaceConfig
    client_request_id: str = ""
    traceparent: str = ""
    idempotency: Idempotency | None = None


class Reply(Protocol):
    """The client's side, as the web layer offers it."""

    async def whole(self, body: bytes, headers: Headers) -> None:
        """Status 200 with a JSON body."""

    async def stream(self, response: RelayResponse) -> None:
        """Run a streamed response to its end."""


class Request:
    """One admitted call on its way: what was resolved, what is held for it, what it has come to."""

    def __init__(
        self, model: Model, call: Call, caller: Caller, dialect: Dialect, hold: Hold, meter: Meter, clock: Clock
    ) -> None:
        self.model = model
        self.dialect = dialect
        self.call = call
        self.caller = caller
        self.hold = hold
        self.meter = meter
        self.patience = Patience()
        self.relay: Relay | None = None
        self.stopped: Refusal | None = None
        self._clock = clock
        self._began = clock.monotonic()

    def stop(self, refusal: Refusal) -> None:
        """End it from outside (an admin, a shutdown): a stream in its own way, a whole answer before it is there."""
        self.stopped = refusal
        if self.relay is not None:
            self.relay.stop(refusal)
        else:
            self.patience.hang_up()

    def forget(self) -> None:
        """It is settled. The relay and what it calls know each other through here: without this the collector has to
        find them (45 objects a stream)."""
        self.relay = None
        self.hold.on_lease = None

    def ending(self) -> Ending:
        """What to settle with, as of now."""
        first = answered = gap_p99_ms = None
        if self.relay is not None:
            first, answered = self.relay.first_event_at, self.relay.answered_at
            gap_p99_ms = self.relay.incoming.gaps.p99_ms()
        return self.meter.ending(
            ttft_ms=None if first is None else round((first - self._began) * 1000),
            duration_ms=round((self._clock.monotonic() - self._began) * 1000),
            answer_ms=None if answered is None else round((answered - self._began) * 1000),
            gap_p99_ms=gap_p99_ms,
        )

    def begun(self) -> Begun:
        """What a trace is told at its beginning."""
        return Begun(
            id=self.call.id,
            parent=self.caller.traceparent,
            began_ns=self._clock.now_ns() - round(self.age_s() * 1e9),
            surface=self.caller.surface.name,
            model=self.model.id,
            max_tokens=self.hold.limit,
            choices=self.call.n,
            stream=self.call.stream,
        )

    def age_s(self) -> float:
        """Seconds since it was admitted."""
        return self._clock.monotonic() - self._began

    def streamed_s(self) -> float | None:
        """Seconds since its first event came; None before that, and for a whole answer."""
        first = self.relay.first_event_at if self.relay is not None else None
        return None if first is None else self._clock.monotonic() - first

    def identity(self) -> Headers:
        """Our id, and the client's own if it sent one."""
        headers: Headers = [(b"x-request-id", self.call.id.encode("ascii"))] if self.dialect.id_in_header else []
        if self.caller.client_request_id:
            headers.append((b"x-client-request-id", self.caller.client_request_id.encode("ascii")))
        return headers

    def headers(self) -> Headers:
        """Who it is, who served it, what it was clamped to, what is left today."""
        headers = [*self.identity(), (b"x-streamrouter-upstream", self.meter.upstream.encode("ascii", "replace"))]
        if self.hold.clamped:
            headers.append((b"x-streamrouter-max-tokens", b"%d" % self.hold.limit))
        left = self.hold.remaining
        if left.input_tokens is None and left.output_tokens is None and left.requests is None:
            return headers
        tokens_reset = b"%ds" % left.tokens_reset_s
        rows = (
            (b"input-tokens", left.input_tokens, tokens_reset),
            (b"output-tokens", left.output_tokens, tokens_reset),
            (b"requests", left.requests, b"%dms" % left.requests_reset_ms),
        )
        for name, pair, reset in rows:
            if pair is not None:
                headers.append((b"x-ratelimit-limit-" + name, b"%d" % pair[0]))
                headers.append((b"x-ratelimit-remaining-" + name, b"%d" % max(0, pair[1])))
                headers.append((b"x-ratelimit-reset-" + name, reset))
        return headers
