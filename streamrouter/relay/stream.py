"""One stream between an upstream and a client: pushed, counted, and ended exactly once.

Bytes arrive in the upstream's read callback (``feed``, ``flush``) and are split, counted and written to the client's
sink before it returns; the response's task only waits for ``done``. Whatever ends a stream comes here, and its
settlement is put right before the terminating write, so a client's next request sees it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.ledger.records import Hold
from streamrouter.policy.meter import Meter
from streamrouter.relay.closing import closing
from streamrouter.relay.deadlines import overdue
from streamrouter.relay.downstream import EMPTY_DELTA, Downstream
from streamrouter.relay.draining import Drain
from streamrouter.relay.incoming import Incoming
from streamrouter.relay.port import Port
from streamrouter.relay.runs import Runs
from streamrouter.relay.sink import Sink
from streamrouter.relay.unstreamed import incomplete, unstreamed
from streamrouter.upstream.exchange import Exchange
from streamrouter.upstream.verdicts import error_event, unusable
from streamrouter.wire.chunk import BadChunk, Chunk, decode_chunk
from streamrouter.wire.splice import Splicer
from streamrouter.wire.sse import DONE, EventTooLarge

LINGER_S = 1.0  # how long a finished upstream may take to close its body, so that its connection can be used again


class Relay:
    """See the module. ``include_usage``: the client asked for it. ``stopped``: why it ended before the first event."""

    def __init__(self, port: Port, meter: Meter, splicer: Splicer, *, include_usage: bool) -> None:
        self._port = port
        self._meter = meter
        self._splicer = splicer
        self._include_usage = include_usage
        self.incoming = Incoming()
        self.feed = self.incoming.feed  # called for every piece of a body
        self._runs = Runs(meter, splicer, port)
        self._config = UpstreamConfig()
        self._client = Downstream(port.start, lambda: splicer.own(EMPTY_DELTA), port.keepalive_s, port.commit_status_s)
        self._exchange: Exchange | None = None
        self._out: list[bytes] = []
        self._held: bytes | None = None  # the framed event that waits for its lease
        self._unread: deque[bytes] = deque()  # payloads behind it
        self._eof: tuple[Upstreamed | None] | None = None  # the upstream's end, behind those
        self._usage_event: bytes | None = None
        self._first: asyncio.Future[None] | None = None
        self._drain = Drain(port.drains)
        self.closed = self._failed = False  # failed: this attempt, what it still sends is not relayed
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stopped: Refusal | None = None
        self._began = self._read_at = port.monotonic()
        self.answered_at: float | None = None  # when the upstream's 200 came
        self._finished_at: float | None = None  # when every choice had its finish_reason, then when all was over
        self.first_event_at: float | None = None

    @property
    def committed(self) -> bool:
        """The client has its status: a failure is an error event from now on."""
        return self._client.committed

    # -- the client's side ----------------------------------------------------------------------------------------

    def attach(self, sink: Sink) -> None:
        """Write to ``sink`` from now on; nothing is sent before the status is committed."""
        self._client.attach(sink)
        sink.reader = self

    def client_gone(self) -> None:
        """The client left. Policy ``abort``: hang up on the upstream now; ``drain``: read on for the exact usage."""
        if not self._client.detach() or self.closed:
            return
        self._meter.end("client_left")
        if self.first_event_at is None:
            self._port.hang_up()
        elif self._drain.begin(self._config, self._meter.upstream, self._port.monotonic()):
            self.client_writable()
        else:
            self._close()

    def client_blocked(self) -> None:
        """The client does not take what was written: stop reading the upstream."""
        self._client.blocked = True
        self._adjust()

    def client_writable(self) -> None:
        self._client.blocked = False
        self._adjust()

    def _adjust(self) -> None:
        if self._exchange is None:
            return
        if self._client.blocked or self._held is not None:
            self._exchange.pause()
        else:
            self._read_at = self._port.monotonic()  # the pause was ours: the upstream's silence starts anew
            if self._finished_at is not None:
                self._finished_at = self._read_at
            self._exchange.resume()

    # -- the upstream's side --------------------------------------------------------------------------------------

    async def accept(self, exchange: Exchange, config: UpstreamConfig) -> None:
        """Take an answered attempt; returns at its first event. Raises Upstreamed: the attempt failed, try another."""
        self._config = config
        self._begin_anew(config)
        self._exchange = exchange
        self.answered_at = self._read_at = self._port.monotonic()
        self._first = asyncio.get_running_loop().create_future()
        try:
            payloads = await unstreamed(exchange, config.max_answer_bytes)
            if payloads is None:
                exchange.push(self)
            else:
                self._exchange = None
                self._take([*payloads, DONE])
            await self._first
        except BaseException:  # a fault, the deadline, a cancellation: whatever it is, this attempt is over
            self._drop()
            raise
        finally:
            self._first = None

    def _begin_anew(self, config: UpstreamConfig) -> None:  # forgets what a failed attempt has left
        self.incoming.begin_anew(config.max_event_bytes)
        self._failed = False
        self._eof = self._usage_event = None
        self._meter.forget_usage()

    def flush(self) -> None:
        if not self.incoming.waits():
            return
        if self.closed or self._failed:
            self.incoming.drop()
            return
        now = self._read_at = self._port.monotonic()
        if self._held is None and (framed := self._runs.take_read(self.incoming, now)):
            self._client.write(framed, now)
            return
        try:
            payloads = self.incoming.read(now)
        except EventTooLarge:
            self._fault(unusable("an event of its stream is too large"))
            return
        if self._held is None:
            self._take(payloads)
        else:
            self._unread.extend(payloads)

    def ended(self, fault: Upstreamed | None) -> None:
        self._exchange = None
        self._eof = (fault,)
        if self.closed or self._failed:
            return
        self._unread.extend(self.incoming.finish())
        if self._held is None:
            self._catch_up()

    def _catch_up(self) -> None:
        """Handle what came behind an event that waited, then the upstream's end if it has come."""
        unread = list(self._unread)
        self._unread.clear()
        self._take(unread)
        if self._eof is None or self.closed or self._held is not None:
            return
        fault = self._eof[0] or incomplete(self._meter)
        if fault is None:
            self._complete()
        else:
            self._fault(fault)

    def _take(self, payloads: list[bytes]) -> None:
        """Handle payloads in order, until one must wait for its lease or the stream is over; then write."""
        at = 0
        while at < len(payloads):
            if many := self._runs.take(payloads, at, self._out):
                at += many
                continue
            self._event(payloads[at])
            at += 1
            if self.closed or self._failed:
                return
            if self._held is not None:
                self._unread.extend(payloads[at:])
                break
        if self._out:
            self._client.write(b"".join(self._out), self._read_at)
            self._out.clear()

    def _event(self, payload: bytes) -> None:
        if payload == DONE:
            self._complete()
            return
        try:
            chunk = decode_chunk(payload)
        except BadChunk:
            self._fault(unusable("an event of its stream is not a chunk"))
            return
        if chunk.has_error:
            self._fault(error_event(bytes(chunk.error)))
            return
        if chunk.has_usage:
            believed = self._meter.add_usage(chunk.usage)
            self._usage_event = payload if believed and chunk.choices == [] else None
        if chunk.choices:
            self._choices(payload, chunk)

    def _choices(self, payload: bytes, chunk: Chunk) -> None:
        """Count an event, and hand it on as far as the durable lease allows."""
        meter = self._meter
        meter.add(chunk)
        if self.first_event_at is None:
            self._first_event()
        if self._finished_at is None and meter.finished:
            self._finished_at = self._read_at
        if meter.over_limit():
            self._finish("cut")
            return
        framed = self._splicer.event(payload, drop_usage=chunk.has_usage, null_error=len(chunk.error) > 0)
        if meter.covered():
            self._out.append(framed)
            self._runs.learn(payload, chunk)
            self._runs.lease_ahead()
        else:
            self._hold(framed)

    def _hold(self, framed: bytes) -> None:
        """Keep an event back until its lease is durable; the upstream pauses meanwhile."""
        wanted = self._meter.wanted_lease(self._port.lease_block)
        if not wanted:  # all is leased, and the true count does not fit
            self._finish("cut")
            return
        self._held = framed
        self._adjust()
        self._port.extend(wanted, True)

    def leased(self, hold: Hold) -> None:
        """The ledger answered an extension: deliver what waited for it."""
        self._meter.lease = hold.lease
        held = self._held
        if self.closed or held is None:
            return
        if hold.lease_failed:
            self.fail(Refusal("ledger_unavailable", "The ledger cannot be written; the stream ends here. Retry later."))
        elif not self._meter.covered():
            self._hold(held)
        else:
            self._held = None
            self._out.append(held)
            self._catch_up()
            self._adjust()

    def _first_event(self) -> None:
        self.first_event_at = self._read_at
        self._client.commit(self._read_at)
        if self._first is not None:
            _wake(self._first)

    def _complete(self) -> None:
        if self.first_event_at is None:
            self._fault(unusable("its stream holds no event"))
            return
        self._finish("finished")

    def _finish(self, reason: str) -> None:
        """End well; ``cut``: the upstream ignores its limit, its last event is dropped, it is hung up on (F14)."""
        self._meter.end(reason)
        self._out.extend(closing(self._meter, self._splicer, self._usage_event, include_usage=self._include_usage))
        self._close(b"".join(self._out))

    def _fault(self, fault: Upstreamed) -> None:
        """The upstream failed: before the first event the attempt did, after it the stream does."""
        if self.first_event_at is not None:
            self.fail(fault)
        elif self._first is not None and not self._first.done():
            self._failed = True
            self._first.set_exception(fault)

    def stop(self, refusal: Refusal) -> None:
        """End it from outside (an admin, a shutdown), whatever it is doing."""
        if self.first_event_at is not None:
            self.fail(refusal)
        elif not self.closed:
            self.stopped = refusal
            self._port.hang_up()

    def fail(self, refusal: Refusal) -> None:
        """End the stream with an error event (no ``[DONE]``: a truncated stream must never look finished)."""
        if self.closed:
            return
        self._meter.end(refusal.code)
        self._out.append(self._port.error_event(refusal))
        self._close(b"".join(self._out))

    def _close(self, last: bytes = b"") -> None:
        """Settle, write the last bytes, hang up on an upstream that is not done."""
        self.closed = True
        self._out.clear()
        self._port.settle()
        self._client.end(last)
        if self._meter.reason != "finished":
            self._drop()
        _wake(self.done)

    def _drop(self) -> None:
        self._drain.end()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def release(self) -> None:
        """The response is over: hang up, unless the upstream is finished and only has to close its body."""
        self.closed = True
        self._finished_at = self._port.monotonic()
        if self._meter.reason != "finished":
            self._drop()
        _wake(self.done)

    def tick(self, now: float) -> bool:
        """Look at the deadlines (``now``: monotonic seconds); False when there is nothing left to look at."""
        if self.closed:
            if self._finished_at is not None and now - self._finished_at >= LINGER_S:
                self._drop()
            return self._exchange is not None or not self.done.done()
        self._client.tick(now, self._began, self.answered_at)
        if self.first_event_at is not None:  # before it, the attempt's own deadline holds
            self._deadlines(now, self._config)
        return True

    def _deadlines(self, now: float, config: UpstreamConfig) -> None:
        held, blocked = self._held is not None, self._client.blocked
        waited_s = now - self._finished_at if self._finished_at is not None else 0.0
        if waited_s >= config.usage_wait_s and not held and not blocked:
            self._complete()  # usage or [DONE] is awaited no longer
        elif self._drain.overdue(now):
            self._close()
        elif refusal := overdue(config, now - self._began, now - self._read_at, held=held, blocked=blocked):
            self.fail(refusal)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
