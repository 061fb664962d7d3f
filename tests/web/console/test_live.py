from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Message, Scope

from streamrouter.ids import secret_hash
from streamrouter.ledger import sessions
from streamrouter.web.console import live
from streamrouter.web.console.answers.server import LiveEvent
from tests.support.admin_api import AdminApi, admin_api
from tests.support.asgi import scope_of


class Listening:
    """A client of the live feed: ``events`` as they come; ``leave`` hangs up."""

    def __init__(self, api: AdminApi, who: str) -> None:
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self.messages: list[Message] = []
        self._left = asyncio.Event()
        scope = scope_of("GET", "/admin/api/live", api.headers[who])
        self.task: asyncio.Task[None] = asyncio.create_task(self._run(api.rig.app.asgi, scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        if message.get("body"):
            self.events.put_nowait(message["body"])

    def leave(self) -> None:
        self._left.set()


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdminApi]:
    monkeypatch.setattr(live, "CHECK_EVERY", 2)
    async with admin_api(tmp_path) as made:
        made.rig.app.feed.period_s = 0.002
        made.rig.clock.monotonic = asyncio.get_running_loop().time  # type: ignore[method-assign]
        yield made


@pytest.mark.parametrize("who", ["admin", "token"])
async def test_events_come_until_the_client_leaves(api: AdminApi, who: str) -> None:
    client = Listening(api, who)
    for _ in range(5):
        event = await client.events.get()
        assert event.startswith(b"data: {") and event.endswith(b"}\n\n")
        msgspec.json.decode(event[6:], type=LiveEvent)
    headers = dict(client.messages[0]["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"
    client.leave()
    await client.task
    assert api.rig.app.watch.listeners == []


async def test_it_ends_with_the_session(api: AdminApi) -> None:
    client = Listening(api, "admin")
    await client.events.get()
    await api.rig.ledger.act(sessions.end, secret_hash("session of root"))
    await client.task
    assert client.messages[-1]["more_body"] is False


async def test_it_ends_with_the_token(api: AdminApi) -> None:
    client = Listening(api, "token")
    await client.events.get()
    [token] = await api.rig.ledger.ask(sessions.tokens)
    await api.rig.ledger.act(sessions.revoke_token, token.id)
    await client.task


async def test_watching_does_not_keep_an_idle_session_alive(api: AdminApi) -> None:
    client = Listening(api, "admin")
    await client.events.get()
    api.rig.clock.pass_s(31 * 60)
    await client.task


async def test_it_ends_when_the_server_drains(api: AdminApi) -> None:
    client = Listening(api, "admin")
    await client.events.get()
    api.rig.app.draining = True
    await client.task
    assert client.messages[-1]["more_body"] is False
    assert (await api.call("GET", "/live")).status == 503
