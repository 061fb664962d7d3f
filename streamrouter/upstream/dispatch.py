"""The attempt loop: try a model's targets in order, fall back on faults, never after the first event.

What to try next is decided in ``policy/`` (routing, breaker); this file only awaits. One deadline scope spans an
attempt from the request to the first event (or to the end of a whole answer); a client that leaves collapses it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from streamrouter.clock import Clock
from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.policy.breaker import Breaker
from streamrouter.policy.catalog import Model, Target
from streamrouter.policy.meter import Meter
from streamrouter.policy.routing import order
from streamrouter.upstream.cancel import Canceller
from streamrouter.upstream.exchange import Exchange, Transport, reached
from streamrouter.upstream.verdicts import ERROR_BODY_BYTES, refused

T = TypeVar("T")
Attempted = Callable[[str, str], None]
Faulted = Callable[[str, str, str], None]  # request id, upstream, code


class Upstream:
    """A configured endpoint with its transport and its breaker."""

    def __init__(self, name: str, config: UpstreamConfig, transport: Transport) -> None:
        self.name = name
        self.config = config
        self.transport = transport
        self.breaker = Breaker(config.cooldown_s)
        self.canceller = Canceller(config)

    async def close(self) -> None:
        """Let cancel calls that are under way finish, then close the transport's pool."""
        await self.canceller.close()
        await self.transport.close()


class ClientGone(Exception):
    """The client left before the first event: there is nobody to answer."""


class Patience:
    """The deadline of one attempt, which a client's leaving cuts short.

    ``asyncio.timeout``'s way (3.11): the task is cancelled, and whoever asked for that takes it back and tells the
    deadline from a cancellation that came from outside. Without its objects it is 4 us less a request.
    """

    def __init__(self) -> None:
        self.gone = False
        self.answered: Mapping[str, str] = {}  # the headers of the attempt's answer, once they are here
        self._task: asyncio.Task[Any] | None = None  # while an attempt is under way
        self._over = False  # it was cancelled from here
        self._timer: asyncio.Handle | None = None

    def hang_up(self) -> None:
        """The client left: end the attempt that is under way, start no other."""
        self.gone = True
        if self._task is not None and self._timer is not None and not self._over:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if self._task is not None:
            self._over = True
            self._task.cancel()

    async def attempt(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` for at most ``seconds``. TimeoutError at the deadline, ClientGone when the client left."""
        if self.gone:
            work.close()  # never begun: no byte may leave for nobody
            raise ClientGone
        task = self._task = asyncio.current_task()
        assert task is not None
        before, self._over = task.cancelling(), False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)
        try:
            return await work
        except asyncio.CancelledError as error:
            if not self._over or task.cancelling() - 1 > before:
                raise  # somebody else wants it too
            raise (ClientGone() if self.gone else TimeoutError()) from error
        finally:
            if self._over:
                task.uncancel()
            self._timer.cancel()
            self._task = self._timer = None


class Dispatch:
    """Opens a model's upstream for one request at a time. ``attempted(upstream, outcome)`` feeds the metrics,
    ``faulted`` the trace of the request."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], clock: Clock, attempted: Attempted, faulted: Faulted | None = None
    ) -> None:
        self.upstreams = upstreams
        self._clock = clock
        self._attempted = attempted
        self._faulted = faulted

    async def open(
        self,
        model: Model,
        *,
        stream: bool,
        body: Callable[[Target, UpstreamConfig], bytes],
        headers: Mapping[str, str],
        meter: Meter,
        patience: Patience,
        accept: Callable[[Exchange, UpstreamConfig], Awaitable[T]],
        attempt_s: float | None = None,
    ) -> T:
        """Send the request to one target after another until ``accept`` has taken an answer.

        ``accept`` gets an exchange whose status is 2xx and returns once the first event (or the whole answer) is there.
        ``attempt_s`` bounds every attempt beside the upstream's own limit. Raises the last attempt's Upstreamed,
        ClientGone, or Refusal ``upstream_not_configured``.
        """
        targets = [target for target in model.targets if target.upstream in self.upstreams]
        if not targets:
            raise Refusal(
                "upstream_not_configured", f"No upstream is configured for {model.id}. The admin must add one."
            )
        now = self._clock.monotonic()
        ranked = order(targets, lambda t: self.upstreams[t.upstream].breaker.cooling(now), random.random)
        fault: Upstreamed | None = None
        for target in ranked:
            upstream = self.upstreams[target.upstream]
            meter.upstream = upstream.name
            limit_s = upstream.config.first_byte_s if stream else upstream.config.total_s
            if attempt_s is not None:
                limit_s = min(limit_s, attempt_s)
            work = self._try(upstream, body(target, upstream.config), headers, stream, meter, patience, accept)
            try:
                answer = await patience.attempt(limit_s, work)
            except TimeoutError:
                fault = Upstreamed("upstream_timeout", f"The upstream gave no answer in {limit_s:g} s.", ambiguous=True)
                upstream.canceller.begin(headers, patience.answered)
            except Upstreamed as refusal:
                fault = refusal
            else:
                upstream.breaker.succeeded()
                self._attempted(upstream.name, "ok")
                meter.attempts.append((upstream.name, "ok"))
                return answer
            meter.attempts.append((upstream.name, fault.code))
            self._failed(upstream, fault)
            if self._faulted is not None:
                self._faulted(headers["x-request-id"], upstream.name, fault.code)
            if not fault.fault or meter.events:  # what was delivered cannot be taken back
                raise fault
        assert fault is not None
        raise fault

    async def _try(
        self,
        upstream: Upstream,
        body: bytes,
        headers: Mapping[str, str],
        stream: bool,
        meter: Meter,
        patience: Patience,
        accept: Callable[[Exchange, UpstreamConfig], Awaitable[T]],
    ) -> T:
        """One attempt. ``meter.sent`` is set before a byte may leave and taken back only when nothing can be billed."""
        before = meter.sent, meter.charge_ambiguous
        meter.charge_ambiguous = upstream.config.charge_ambiguous_input or all(before)
        meter.sent = True
        patience.answered = {}
        try:
            exchange = await upstream.transport.send(body, headers, stream=stream)
            patience.answered = exchange.headers
            try:
                if not 200 <= exchange.status < 300:
                    raise await self._refusal(exchange)
                return await accept(exchange, upstream.config)
            except BaseException:  # a fault, the deadline, a cancellation: nobody reads on
                exchange.close()
                raise
        except Upstreamed as fault:
            if not fault.ambiguous:
                meter.sent, meter.charge_ambiguous = before
            raise
        except BaseException:  # the deadline, the client's leaving: before a connection was there, nothing was sent
            if not reached.get():
                meter.sent, meter.charge_ambiguous = before
            raise

    async def _refusal(self, exchange: Exchange) -> Upstreamed:
        try:
            body, _ = await exchange.read(ERROR_BODY_BYTES)
        except Upstreamed:
            body = b""
        finally:
            exchange.close()
        return refused(exchange.status, exchange.headers, body)

    def _failed(self, upstream: Upstream, fault: Upstreamed) -> None:
        self._attempted(upstream.name, fault.code)
        if fault.fault:
            upstream.breaker.failed(self._clock.monotonic(), fault.retry_after_s)
