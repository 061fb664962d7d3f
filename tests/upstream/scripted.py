"""Transports that play a script, whole implementations of the protocol, and a dispatch over them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from streamrouter.config.schema import Config, ModelConfig, TargetConfig, UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.policy.catalog import Catalog
from streamrouter.policy.meter import Meter
from streamrouter.upstream import exchange
from streamrouter.upstream.dispatch import Dispatch, Patience, Upstream

HANG = "hang"
UNREACHABLE = Upstreamed("upstream_unreachable", "m")


class Answer:
    """An exchange with a given status and body; ``read`` may hang."""

    def __init__(self, status: int = 200, body: bytes = b"", *, hangs: bool = False, **headers: str) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        self.closed = False
        self.most = 0
        self._body = body
        self._hangs = hangs

    def push(self, target: exchange.Target) -> None:
        target.feed(self._body)
        target.flush()
        target.ended(None)

    async def read(self, most: int) -> tuple[bytes, bool]:
        self.most = most
        if self._hangs:
            await asyncio.Event().wait()
        return self._body[:most], len(self._body) <= most

    def pause(self) -> None: ...
    def resume(self) -> None: ...

    def close(self) -> None:
        self.closed = True


Step = Answer | Upstreamed | str


class Scripted:
    """A transport that plays its script: an answer, a fault, or nothing ever."""

    def __init__(self, script: list[Step]) -> None:
        self.script = script
        self.bodies: list[bytes] = []
        self.headers: Mapping[str, str] = {}
        self.asked = asyncio.Event()
        self.closed = False

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> Answer:
        self.bodies.append(body)
        self.headers = headers
        self.asked.set()
        step = self.script.pop(0)
        if isinstance(step, Upstreamed):
            raise step
        if isinstance(step, str):
            await asyncio.Event().wait()
            raise AssertionError
        return step

    async def close(self) -> None:
        self.closed = True


class HeldClock:
    """Time that a test moves."""

    now = 1000.0

    def now_ns(self) -> int:
        return int(self.now * 1e9)

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.now


class Desk:
    """A dispatch over the upstreams a, b, ... in that order, and what it did."""

    def __init__(self, *scripts: list[Step], **config: Any) -> None:
        names = "abcdef"[: len(scripts)]
        configs = {name: UpstreamConfig(base_url="demo:", **config) for name in names}
        self.transports = {name: Scripted(script) for name, script in zip(names, scripts, strict=True)}
        self.upstreams = {name: Upstream(name, configs[name], self.transports[name]) for name in names}
        targets = [TargetConfig(upstream=name, model=f"m-{name}", rank=rank) for rank, name in enumerate(names)]
        models = {"m": ModelConfig(targets=targets)}
        self.model = Catalog(Config(upstreams=configs, models=models)).models["m"]
        self.clock = HeldClock()
        self.outcomes: list[tuple[str, str]] = []
        self.dispatch = Dispatch(self.upstreams, self.clock, lambda name, code: self.outcomes.append((name, code)))
        self.meter = Meter(count=len, local_input=1, r_input=2, r_output=3, n=1, lease=3, exact=True)
        self.patience = Patience()
        self.accepted: list[exchange.Exchange] = []
        self.refuse: list[Upstreamed | Refusal] = []  # what ``accept`` raises, in turn

    async def open(self, *, stream: bool = True) -> str:
        async def accept(answered: exchange.Exchange, config: UpstreamConfig) -> str:
            assert self.meter.sent
            self.accepted.append(answered)
            if self.refuse:
                raise self.refuse.pop(0)
            return self.meter.upstream

        return await self.dispatch.open(
            self.model,
            stream=stream,
            body=lambda target, config: f"{target.upstream}/{target.model}".encode(),
            headers={"x-request-id": "req_1"},
            meter=self.meter,
            patience=self.patience,
            accept=accept,
        )

    async def fails(self, **how: Any) -> Refusal:
        with pytest.raises(Refusal) as caught:
            await self.open(**how)
        return caught.value
