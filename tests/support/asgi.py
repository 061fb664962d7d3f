"""An application without a server: requests as plain ASGI calls, a real ledger on a file, a scripted upstream."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from streamrouter.app import App
from streamrouter.config.schema import Config, ModelConfig, SurfaceConfig, UpstreamConfig
from streamrouter.errors import Upstreamed
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.policy.passwords import Cost
from streamrouter.upstream.dispatch import Upstream
from streamrouter.upstream.exchange import Exchange, Target, Transport
from tests.ledger.books import HeldClock, opened
from tests.support.upstream import completion

Pairs = Sequence[tuple[str, str]]
MODELS = {
    "test": ModelConfig(exact=True, context_length=1000, max_output_tokens=200, default_max_tokens=100),
    "org/other:1": ModelConfig(name="Other", streaming=False),
}
FAST_HASH = Cost(n=32)
CONFIG = Config(upstreams={"up": UpstreamConfig(base_url="demo:")}, models=MODELS, surface=[SurfaceConfig(name="main")])


def scope_of(
    method: str = "GET", path: str = "/", headers: Pairs = (), *, query: str = "", client: str = "127.0.0.1"
) -> Scope:
    """A request's scope; headers as a server gives them."""
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    raw = path.encode()
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": raw,
        "query_string": query.encode(),
        "client": (client, 50_000),
        "root_path": "",
        "scheme": "http",
        "headers": pairs,
        "state": {},
        "extensions": {},
    }


class Answer:
    """A response as it was sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    @property
    def status(self) -> int:
        """0: nothing was sent."""
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        names = [name for name, _ in self.messages[0]["headers"]]
        assert len(names) == len(set(names)), f"a header stands twice: {names}"
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


async def ask(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    headers: Pairs = (),
    body: bytes = b"",
    *,
    leaves: bool = False,
    query: str = "",
    client: str = "127.0.0.1",
) -> Answer:
    """One request. ``leaves``: the client is gone before its body is whole; ``client``: where it comes from."""
    answer = Answer()
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": leaves}]
    if leaves:
        messages.append({"type": "http.disconnect"})

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # the client stays
        return messages.pop(0)

    async def send(message: Message) -> None:
        starts = message["type"] == "http.response.start"
        assert starts == (not answer.messages), "a second status, or a body before the first"
        answer.messages.append(message)

    async with asyncio.timeout(5):
        await app(scope_of(method, path, headers, query=query, client=client), receive, send)
    return answer


class Played:
    """One answer of an upstream: a whole body, or one that is pushed in one read."""

    def __init__(self, body: bytes, kind: str = "text/event-stream", status: int = 200) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"content-type": kind}
        self._body = body
        self._target: Target | None = None

    def push(self, target: Target) -> None:
        self._target = target
        asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        if self._target is not None:
            self._target.feed(self._body)
            self._target.flush()
        if self._target is not None:
            self._target.ended(None)

    async def read(self, most: int) -> tuple[bytes, bool]:
        return self._body[:most], len(self._body) <= most

    def pause(self) -> None:
        """It is all there already."""

    def resume(self) -> None:
        """It is all there already."""

    def close(self) -> None:
        self._target = None


class ScriptedTransport:
    """Answers with ``answers`` in turn, the last one for ever; remembers the bodies that it got."""

    def __init__(self, *answers: Exchange | Upstreamed) -> None:
        self._answers = list(answers)
        self.bodies: list[dict[str, Any]] = []

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> Exchange:
        self.bodies.append(json.loads(body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Upstreamed):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is held."""


def whole(text: str = "Hi.", prompt: int = 7, output: int = 3) -> Played:
    """A whole answer."""
    return Played(json.dumps(completion(text, prompt, output)).encode(), "application/json")


class Rig:
    """A running application, its parts, and a key of the account ``team-a`` for its first surface."""

    def __init__(self, app: App, ledger: Ledger, clock: HeldClock, log: Path, secret: str, key_id: str) -> None:
        self.app = app
        self.ledger = ledger
        self.clock = clock
        self.log = log
        self.secret = secret
        self.key_id = key_id

    async def get(self, path: str, *headers: tuple[str, str], secret: str | None = None) -> Answer:
        """``GET`` with the key."""
        return await ask(self.app.asgi, "GET", path, [self._auth(secret), *headers])

    async def post(
        self, body: bytes | dict[str, Any], *headers: tuple[str, str], path: str = "/v1/chat/completions"
    ) -> Answer:
        """``POST`` with the key; a dict is a call with its defaults filled in."""
        if isinstance(body, dict):
            call = {"model": "test", "messages": [{"role": "user", "content": "Say hello."}], **body}
            body = json.dumps(call).encode()
        pairs = [self._auth(None), ("content-type", "application/json"), *headers]
        return await ask(self.app.asgi, "POST", path, pairs, body)

    def _auth(self, secret: str | None) -> tuple[str, str]:
        return ("authorization", f"Bearer {self.secret if secret is None else secret}")

    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@asynccontextmanager
async def running(
    folder: Path, transport: Transport | None = None, config: Config = CONFIG, **caps: Any
) -> AsyncIterator[Rig]:
    """An application whose only upstream is ``transport``; ``caps``: of the account. Again: with the same books."""
    clock = HeldClock()
    log_path = folder / "log.jsonl"
    fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    up = Upstream("up", config.upstreams["up"], transport or ScriptedTransport(whole()))
    try:
        async with opened(str(folder / "ledger.db"), clock) as ledger:
            log = Log(clock, fd=fd)
            metrics = Metrics(config.models, config.upstreams)
            app = App(config, ledger, {"up": up}, clock, log, metrics, password_cost=FAST_HASH)
            if not await ledger.accounts():
                await ledger.create_account("team-a", caps)
            key, secret = await ledger.create_key("team-a", config.surface[0].name, "sk-", None, None)
            yield Rig(app, ledger, clock, log_path, secret, key.id)
    finally:
        os.close(fd)
