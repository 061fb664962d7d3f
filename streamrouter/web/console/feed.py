"""The live feed: one aggregate a second, made once for everybody who watches and only while somebody does.

Requests are counted when they are settled. Output tokens per second come from the meters of what is in flight, which
are read once a second here: nothing is added to an event on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from streamrouter.admin.watch import Watch
from streamrouter.clock import Clock
from streamrouter.errors import Refusal
from streamrouter.gateway import Gateway
from streamrouter.ledger.browsing import cost_of_day
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ledger.verdicts import DATABASE_ERRORS
from streamrouter.ops import histogram
from streamrouter.policy.money import nano_to_usd
from streamrouter.upstream.dispatch import Upstream

PERIOD_S = 1.0
MOST_WATCHERS = 32
WINDOW_S = 60  # of the percentiles
COST_EVERY = 5  # seconds between two looks into the books
STATES = {"closed": "closed", "cooling": "open", "trial": "half_open"}


class Watcher:
    """One who watches: the newest aggregate, and a wait for the one after it."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._seen = 0

    async def next(self) -> bytes | None:
        """An aggregate that was not given yet (whoever is slow misses some); None: the feed has ended."""
        while self._seen == self._feed.number and not self._feed.over:
            await asyncio.shield(self._feed.published)
        self._seen = self._feed.number
        return None if self._feed.over else self._feed.latest


class Feed:
    """Made once per server; ``join`` and ``leave`` are for each who watches."""

    def __init__(
        self,
        watch: Watch,
        gateway: Callable[[], Gateway],
        ledger: Ledger,
        clock: Clock,
        draining: Callable[[], bool],
        period_s: float = PERIOD_S,
    ) -> None:
        self.latest = b""
        self.number = 0
        self.over = False
        self.published: asyncio.Future[None]
        self._watch = watch
        self._gateway = gateway
        self._ledger = ledger
        self._clock = clock
        self._draining = draining
        self.period_s = period_s
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._requests = self._errors = self._input = self._output = 0  # since the last aggregate
        self._read: dict[str, int] = {}  # output tokens of each request in flight at the last look
        self._cost = 0
        self._cost_age = 0

    def join(self) -> Watcher:
        """Watch from now on. Refusal ``overloaded``, ``server_shutdown``."""
        if self._draining():
            raise Refusal("server_shutdown", "The server is shutting down.")
        if len(self._watchers) >= MOST_WATCHERS:
            raise Refusal("overloaded", f"{MOST_WATCHERS} live feeds are open already. Close one.", retry_after_s=5)
        watcher = Watcher(self)
        self._watchers.add(watcher)
        if self._task is None:
            self.over = False
            self._begin()
            self._task = asyncio.create_task(self._run(), name="live feed")
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no longer; the last one who leaves ends it."""
        self._watchers.discard(watcher)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._end()

    def _begin(self) -> None:
        self.published = asyncio.get_running_loop().create_future()
        self.latest, self.number = b"", 0  # an aggregate of an earlier time is nobody's first
        self._requests = self._errors = self._input = self._output = 0
        self._read = {number: request.meter.counted for number, request in self._gateway().in_flight.items()}
        self._cost_age = 0
        self._watch.listeners.append(self._settled)

    def _end(self) -> None:
        self._task = None
        self._watch.listeners.remove(self._settled)

    async def _run(self) -> None:
        due = self._clock.monotonic()
        while not self._draining():
            if self._cost_age <= 0:
                await self._look_up_cost()
            self._cost_age -= 1
            self._publish(orjson.dumps(self.aggregate()))
            due += self.period_s
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
        self.over = True
        self._publish(b"")
        self._watchers.clear()
        self._end()

    async def _look_up_cost(self) -> None:
        self._cost_age = COST_EVERY
        try:
            self._cost = await self._ledger.ask(lambda raw: cost_of_day(raw, self._ledger.day))
        except (Refusal, *DATABASE_ERRORS):  # the file cannot be used now: the last known sum stands
            self._cost_age = 1

    def _publish(self, aggregate: bytes) -> None:
        self.latest = aggregate
        self.number += 1
        published, self.published = self.published, asyncio.get_running_loop().create_future()
        published.set_result(None)

    def _settled(self, hold: Hold, settled: Settled, *, failed: bool) -> None:
        self._requests += 1
        self._errors += failed
        self._input += settled.input_tokens
        self._output += max(0, settled.output_tokens - self._read.pop(hold.id, 0))

    def aggregate(self) -> dict[str, Any]:
        """What came since the last one, per second, and how things stand."""
        now_s = self._clock.now_ns() // 1_000_000_000
        gateway = self._gateway()
        window = self._watch.series.between(now_s - WINDOW_S, now_s + 1)
        output, streams = self._output + self._read_meters(gateway), 0
        for request in gateway.in_flight.values():
            streams += request.call.stream
        found = {
            "t": now_s,
            "active": len(gateway.in_flight),
            "streams": streams,
            "requests_s": self._per_second(self._requests),
            "errors_s": self._per_second(self._errors),
            "input_tokens_s": self._per_second(self._input),
            "output_tokens_s": self._per_second(output),
            "ttft_p50_ms": histogram.quantile(window.ttft, 0.5),
            "ttft_p95_ms": histogram.quantile(window.ttft, 0.95),
            "gap_p99_ms": histogram.quantile(window.gap, 0.99),
            "spend_today_usd": nano_to_usd(self._cost),
            "upstreams": [
                {"name": name, "state": state_of(upstream, self._clock.monotonic())}
                for name, upstream in gateway.dispatch.upstreams.items()
            ],
        }
        self._requests = self._errors = self._input = self._output = 0
        return found

    def _read_meters(self, gateway: Gateway) -> int:
        """Output tokens that were read since the last look, of everything in flight."""
        read, total = {}, 0
        for request_id, request in gateway.in_flight.items():
            counted = request.meter.counted
            total += max(0, counted - self._read.get(request_id, 0))
            read[request_id] = counted
        # What is not in flight any more and not settled yet is counted when it is: its last look must stay known.
        settling = {request_id: counted for request_id, counted in self._read.items() if request_id not in read}
        self._read = {**dict(list(settling.items())[-1000:]), **read}
        return total

    def _per_second(self, count: int) -> float:
        return round(count / self.period_s, 1)


def state_of(upstream: Upstream, now: float) -> str:
    """``closed`` (well), ``open`` (cooling down: tried last), ``half_open`` (one request may try)."""
    return STATES[upstream.breaker.state(now)]


def iso_in(seconds: float, now_ns: int) -> str:
    """The moment ``seconds`` from now, in ISO 8601."""
    return datetime.fromtimestamp(now_ns / 1e9 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
