"""The application in this process: a real ledger, a scripted transport, plain ASGI. For what sockets cannot time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import types
from collections.abc import AsyncIterator, Coroutine, Generator, Mapping
from pathlib import Path
from typing import Any

from starlette.types import Message, Scope

from streamrouter.app import App
from streamrouter.clock import SystemClock
from streamrouter.config.schema import Config, LedgerConfig, ModelConfig, PriceConfig, SurfaceConfig, UpstreamConfig
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.upstream.dispatch import Upstream
from streamrouter.upstream.exchange import Target


class ScriptedExchange:
    """Says ``pieces``, one per turn of the loop; notes whether it was hung up on."""

    def __init__(self, kind: str, pieces: list[bytes]) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": kind}
        self.closed = False
        self.ended = False
        self._pieces = list(pieces)
        self._target: Target | None = None
        self._paused = False

    def push(self, target: Target) -> None:
        self._target = target
        asyncio.get_running_loop().call_soon(self._next)

    async def read(self, most: int) -> tuple[bytes, bool]:
        pieces = []
        while self._pieces:
            await asyncio.sleep(0)
            pieces.append(self._pieces.pop(0))
        self.ended = True
        return b"".join(pieces), True

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._next)

    def close(self) -> None:
        self.closed = True
        self._target = None

    def _next(self) -> None:
        if self._target is None or self._paused:
            return
        if self._pieces:
            self._target.feed(self._pieces.pop(0))
            self._target.flush()
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self.ended = True
            self._target.ended(None)


class ScriptedTransport:
    """Answers every request with the same pieces."""

    def __init__(self, kind: str, pieces: list[bytes]) -> None:
        self._kind = kind
        self._pieces = pieces
        self.exchanges: list[ScriptedExchange] = []

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> ScriptedExchange:
        await asyncio.sleep(0)  # a connection is made
        await asyncio.sleep(0)  # the headers are waited for
        exchange = ScriptedExchange(self._kind, self._pieces)
        self.exchanges.append(exchange)
        return exchange

    async def close(self) -> None:
        """Nothing is held."""


class Inside:
    """An app over a ledger of its own. ``config`` has one model, ``test``, whose tokens cost one nano-USD each."""

    def __init__(self, app: App, ledger: Ledger, transport: ScriptedTransport, key: str) -> None:
        self.app = app
        self.ledger = ledger
        self.transport = transport
        self.key = key

    def scope(self) -> Scope:
        return {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": [(b"authorization", f"Bearer {self.key}".encode()), (b"content-type", b"application/json")],
            "extensions": {},
        }

    async def check(self) -> dict[str, Any]:
        """Assert that nothing is open or reserved and that the books are right; the last hold, {} without one."""
        assert await self.ledger.check() == []
        usage = await self.ledger.usage("a")
        assert (usage.in_flight, usage.input["reserved"], usage.output["reserved"], usage.reserved_usd) == (0, 0, 0, 0)

        def last(connection: Any) -> dict[str, Any]:
            cursor = connection.execute("SELECT * FROM hold ORDER BY created_ns DESC, id DESC LIMIT 1")
            row = cursor.fetchone()
            return {} if row is None else dict(zip([column[0] for column in cursor.description], row, strict=True))

        hold = await self.ledger.ask(last)
        assert hold.get("state") != "open"
        return hold


@contextlib.asynccontextmanager
async def inside(directory: Path, transport: ScriptedTransport, *, bugs: bool = False) -> AsyncIterator[Inside]:
    """An app in this process; nothing listens. The tokenizer is loaded. ``bugs``: an internal error is expected."""
    upstream = UpstreamConfig(base_url="scripted:")
    model = ModelConfig(exact=True, price=PriceConfig(input="0.001", output="0.001"))
    config = Config(
        ledger=LedgerConfig(path=str(directory / "ledger.db"), lease_tokens=4, durability="normal"),
        upstreams={"main": upstream},
        models={"test": model},
        surface=[SurfaceConfig(billing="prepaid")],
    )
    clock = SystemClock()
    fatal: list[str] = []
    ledger = await Ledger.open(config.ledger.path, config=config.ledger, clock=clock, on_fatal=fatal.append)
    log_fd = os.open(directory / "log", os.O_WRONLY | os.O_CREAT)
    try:
        metrics = Metrics(config.models, config.upstreams)
        app = App(
            config, ledger, {"main": Upstream("main", upstream, transport)}, clock, Log(clock, fd=log_fd), metrics
        )
        await ledger.create_account("a", {})
        await ledger.credit("a", [("payment", 1_000_000_000)])
        _, secret = await ledger.create_key("a", config.surface[0].name, "sk-", None, None)
        await app.counters.load("o200k_base")
        yield Inside(app, ledger, transport, secret)
        assert fatal == []
        assert ("internal_error" in (directory / "log").read_text()) == bugs
    finally:
        await ledger.close()
        os.close(log_fd)


class ClientEnd:
    """The plain ASGI client: one body, and gone after ``leave_after`` messages have come (None: it stays)."""

    def __init__(self, body: dict[str, Any], leave_after: int | None = None) -> None:
        self._body = json.dumps(body).encode()
        self._leave_after = leave_after
        self._asked = False
        self._left = asyncio.Event()
        self.got = b""
        self.messages = 0
        if leave_after == 0:
            self._left.set()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.messages += 1
        if not self._left.is_set():
            self.got += message.get("body", b"")
        if self.messages == self._leave_after:
            self._left.set()


@types.coroutine
def cancelled_at(
    step: int, late: bool, work: Coroutine[Any, Any, None], counted: list[int]
) -> Generator[Any, Any, None]:
    """Await ``work``; at its ``step``-th suspension its task is cancelled, ``late``: just when it would have gone on.

    ``counted`` gets how many suspensions there were.
    """
    task = asyncio.current_task()
    assert task is not None
    steps, resume, value = 0, work.send, None
    while True:
        try:
            waiting = resume(value)
        except StopIteration:
            counted.append(steps)
            return
        except asyncio.CancelledError:
            counted.append(steps)
            raise
        if steps == step:
            _cancel(task, waiting, late)
        steps += 1
        resume, value = work.send, None
        try:
            yield waiting
        except asyncio.CancelledError as error:
            resume, value = work.throw, error


def _cancel(task: asyncio.Task[Any], waiting: Any, late: bool) -> None:
    future: asyncio.Future[Any] | None = waiting
    if late and future is not None:
        future.add_done_callback(lambda _: task.cancel())  # called before the task's own: the result is there, unseen
    else:
        task.cancel()
