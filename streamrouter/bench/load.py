"""A load on one target: so many streams at once, a closed loop, or requests at a rate that nothing slows down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import ssl
import time
from collections.abc import Callable, Coroutine
from itertools import count
from time import perf_counter
from typing import Any

import msgspec
import uvloop

from streamrouter.bench.client import Connection, Tally
from streamrouter.bench.target import Target

REFUSED_PAUSE_S = 0.1  # a closed loop must not turn into a flood of connects
CONNECT_TIMEOUT_S = 10.0
LOOKED_AT_S = 0.1
HANG_UP_S = 2.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do; one of three ways.

    ``rate``: requests per second for ``duration_s``, each sent when it is due whether or not others have ended, and
    its latency counted from then (a server that falls behind cannot hide it). Otherwise ``clients`` requests are in
    flight until ``requests`` are sent or ``duration_s`` is over; the last ones are waited for. The clients begin
    evenly spread over ``ramp_s``. ``silence_s``: how long a server may send nothing before a request is given up.
    """

    clients: int = 8
    requests: int | None = None
    duration_s: float | None = None
    rate: float | None = None
    ramp_s: float = 0.0
    silence_s: float = 60.0
    thorough: bool = False  # decode every event, not only those that can matter


class Load:
    """One run of a plan. ``tally`` and ``in_flight`` can be looked at while it goes on."""

    def __init__(self, target: Target, plan: Plan, context: ssl.SSLContext | None = None) -> None:
        self.tally = Tally()
        self.wall_s = 0.0
        self._target = target
        self._plan = plan
        self._context = context
        self._began = 0.0
        self._claimed = 0
        self._alive: set[Connection] = set()
        self._busy: set[Connection] = set()
        self._idle: list[Connection] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._finished: dict[Connection, asyncio.Future[None]] = {}
        self._over: asyncio.Future[None]  # of an open loop
        self._sent_all = False

    @property
    def in_flight(self) -> int:
        """Requests that were sent and are not over."""
        return len(self._busy)

    @property
    def elapsed_s(self) -> float:
        """Since the first request could be sent."""
        return perf_counter() - self._began

    async def run(self) -> None:
        """All of it; returns when every request has come to an end."""
        self._began = perf_counter()
        sweep = asyncio.create_task(self._sweep())
        try:
            await (self._closed() if self._plan.rate is None else self._open(self._plan.rate))
        finally:
            self.wall_s = perf_counter() - self._began
            sweep.cancel()
            await self._hang_up()

    async def _hang_up(self) -> None:
        """End all connections and see them end: one in the middle of a TLS goodbye would outlive the event loop."""
        for connection in self._alive:
            connection.transport.abort()
        if self._alive:
            await asyncio.wait([connection.lost for connection in self._alive], timeout=HANG_UP_S)

    async def _sweep(self) -> None:
        """Give up what the server has forgotten: one look at all, not a timer for each."""
        while True:
            await asyncio.sleep(LOOKED_AT_S)
            late = perf_counter() - self._plan.silence_s
            for connection in [each for each in self._busy if each.heard_at < late]:
                connection.expire()

    def _claim(self) -> bool:
        """Whether one more request is to be sent; it is counted as sent."""
        plan = self._plan
        if plan.requests is not None and self._claimed >= plan.requests:
            return False
        if plan.duration_s is not None and self._claimed >= plan.clients and self.elapsed_s >= plan.duration_s:
            return False
        self._claimed += 1
        return True

    async def _connect(self, ended: Callable[[Connection], None]) -> Connection | None:
        """A connection; None if there is none to be had, which is an error of this request."""
        target, tally = self._target, self.tally
        making: Coroutine[Any, Any, tuple[Any, Connection]] = asyncio.get_running_loop().create_connection(
            lambda: Connection(target, tally, ended, thorough=self._plan.thorough),
            target.host,
            target.port,
            ssl=self._context,
            server_hostname=target.host if self._context else None,
        )
        try:
            connection = (await asyncio.wait_for(making, CONNECT_TIMEOUT_S))[1]
            self._alive.add(connection)
            connection.lost.add_done_callback(lambda _: self._alive.discard(connection))
            return connection
        except TimeoutError:
            tally.errors["timeout"] += 1
        except ssl.SSLError:
            tally.errors["tls"] += 1
        except OSError:
            tally.errors["refused"] += 1
        tally.requests += 1
        return None

    async def _closed(self) -> None:
        clients = self._plan.clients
        await asyncio.gather(*(self._client(self._plan.ramp_s * i / clients) for i in range(clients)))

    async def _client(self, delay_s: float) -> None:
        """One place in flight: a connection, and another one whenever it breaks."""
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        again_due: float | None = None
        while again_due is not None or self._claim():
            due_at = perf_counter() if again_due is None else again_due
            connection = await self._connect(self._next)
            again_due = None
            if connection is None:
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
            finished = self._finished[connection] = loop.create_future()
            self._send(connection, due_at)
            await finished
            again_due = connection.due_at if connection.stale else None

    def _send(self, connection: Connection, due_at: float) -> None:
        self._busy.add(connection)
        connection.ask(due_at)

    def _next(self, connection: Connection) -> None:
        """A request of a closed loop is over: the next one at once, on the same connection if it lasts."""
        if connection.usable and self._claim():
            connection.ask(perf_counter())
            return
        self._busy.discard(connection)
        if connection.usable:
            connection.transport.close()
        finished = self._finished.pop(connection, None)
        if finished is not None and not finished.done():
            finished.set_result(None)

    async def _open(self, rate: float) -> None:
        plan, self._over = self._plan, asyncio.get_running_loop().create_future()
        for number in count():
            due_s = number / rate
            if (plan.requests is not None and number >= plan.requests) or due_s >= (plan.duration_s or due_s + 1):
                break
            await asyncio.sleep(max(0.0, due_s - self.elapsed_s))
            self._launch(self._began + due_s)
        self._sent_all = True
        self._look_for_end()
        await self._over

    def _launch(self, due_at: float) -> None:
        """On an idle connection, or on a new one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._send(connection, due_at)
                return
        task = asyncio.create_task(self._fresh(due_at))
        self._starting.add(task)
        task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        self._look_for_end()

    def _look_for_end(self) -> None:
        if self._sent_all and not self._busy and not self._starting and not self._over.done():
            self._over.set_result(None)

    async def _fresh(self, due_at: float) -> None:
        connection = await self._connect(self._freed)
        if connection is not None:
            self._send(connection, due_at)

    def _freed(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection.stale:
            self._launch(connection.due_at)
        elif connection.usable:
            self._idle.append(connection)
        self._look_for_end()


class Outcome(msgspec.Struct, frozen=True):
    """A finished run: what was seen, how long it took, and what the client itself needed of CPU."""

    tally: Any
    wall_s: float
    client_cpu_s: float


def run_load(
    target: Target,
    plan: Plan,
    *,
    context: ssl.SSLContext | None = None,
    watch: Callable[[Load], None] | None = None,
    every_s: float = 0.25,
) -> Outcome:
    """Run ``plan`` on an event loop of its own. ``watch`` sees the load every ``every_s`` seconds.

    The garbage collector rests meanwhile: its pauses would be found as gaps of the server's.
    """
    allow_descriptors(plan.clients + 256 if plan.rate is None else 65_536)
    load = Load(target, plan, context)

    async def watched() -> None:
        async def look() -> None:
            while watch is not None:
                watch(load)
                await asyncio.sleep(every_s)

        looking = asyncio.create_task(look())
        try:
            await load.run()
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    began = time.process_time()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(watched())
    finally:
        if collecting:
            gc.enable()
    return Outcome(load.tally, load.wall_s, time.process_time() - began)


def allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files to ``count``, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
