"""The admin API without a server: an application as in asgi.py, and the people and tokens that may ask it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from streamrouter.config.schema import Config
from streamrouter.ids import secret_hash
from streamrouter.ledger import people, sessions
from streamrouter.upstream.exchange import Transport
from tests.support.asgi import CONFIG, Answer, Rig, ask, running

T = TypeVar("T")
OTHER = "team-b"  # an account of nobody who asks


class AdminApi:
    """``who`` of a call: ``token`` (an admin's script), ``admin`` and ``member`` (sessions), ``nobody``.

    The member's account is ``team-a``; ``other_key`` is a key of another account, ``own_key`` one of theirs.
    """

    def __init__(self, rig: Rig, headers: dict[str, list[tuple[str, str]]], other_key: str) -> None:
        self.rig = rig
        self.headers = headers
        self.own_key = rig.key_id
        self.other_key = other_key

    async def call(self, method: str, path: str, body: Any = None, *, who: str = "token", **more: Any) -> Answer:
        """One request; ``query`` is a dict, ``ref`` an Idempotency-Key."""
        headers = list(self.headers[who])
        raw = b""
        if body is not None:
            raw = json.dumps(body).encode()
            headers += [("content-type", "application/json"), ("content-length", str(len(raw)))]
        if more.get("ref"):
            headers.append(("idempotency-key", more["ref"]))
        return await ask(
            self.rig.app.asgi, method, "/admin/api" + path, headers, raw, query=urlencode(more.get("query") or {})
        )

    async def get(self, path: str, *, who: str = "token", **query: Any) -> Any:
        """The JSON of a GET that is well."""
        answer = await self.call("GET", path, who=who, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    async def read(self, kind: type[T], path: str, *, who: str = "token", **query: Any) -> T:
        """The JSON of a GET, which must be exactly as its route's answer says."""
        return msgspec.convert(await self.get(path, who=who, **query), kind, strict=True)

    async def post(self, path: str, body: Any = None, *, who: str = "token", status: int = 200, **more: Any) -> Any:
        """The JSON of a POST that is well."""
        answer = await self.call("POST", path, {} if body is None else body, who=who, **more)
        assert answer.status == status, answer.body
        return answer.json

    async def spend(self, count: int = 1, **call: Any) -> list[str]:
        """Requests of the member's account, settled; their ids."""
        answers = [await self.rig.post(call) for _ in range(count)]
        assert [answer.status for answer in answers] == [200] * count
        return [answer.headers["x-request-id"] for answer in answers]


async def _session(rig: Rig, name: str, role: Any, user: str | None) -> list[tuple[str, str]]:
    account = None if user is None else next(a.id for a in await rig.ledger.accounts() if a.name == user)
    person = await rig.ledger.act(people.add, name, role, account)
    await rig.ledger.act(sessions.begin, person.id, secret_hash(f"session of {name}"), "a test")
    return [("cookie", f"streamrouter_session=session of {name}"), ("host", "here"), ("origin", "http://here")]


@asynccontextmanager
async def admin_api(
    folder: Path, transport: Transport | None = None, config: Config = CONFIG
) -> AsyncIterator[AdminApi]:
    """A running application, its people, and a second account with a key."""
    async with running(folder, transport, config) as rig:
        await rig.ledger.create_account(OTHER, {})
        other, _ = await rig.ledger.create_key(OTHER, config.surface[0].name, "sk-", None, None)
        _, token = await rig.ledger.act(sessions.create_token, "script", None, None)
        headers = {
            "token": [("authorization", f"Bearer {token}")],
            "admin": await _session(rig, "root", "admin", None),
            "member": await _session(rig, "mia", "member", "team-a"),
            "nobody": [],
        }
        yield AdminApi(rig, headers, other.id)
