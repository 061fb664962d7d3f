"""Browsers and scripts at the admin API of an application without a server."""

from __future__ import annotations

import json
from typing import Any

from streamrouter.ids import new_secret, secret_hash
from streamrouter.ledger import people, sessions
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.people import Person
from streamrouter.ledger.sessions import PersonRole
from streamrouter.policy.passwords import Cost, encode
from streamrouter.web.console.origin import COOKIE
from tests.support.asgi import Answer, Rig, ask

HOST = "console.example"
PASSWORD = "correct horse battery"
CHEAP = encode(PASSWORD, bytes(16), Cost(n=16))  # as if it had been set long ago, with parameters of then


class Browser:
    """Keeps the cookie that it is given, and says where its requests come from, as a page of ours does."""

    def __init__(self, rig: Rig, session: str = "", client: str = "127.0.0.1") -> None:
        self.session = session
        self._rig = rig
        self._client = client

    async def send(
        self, method: str, path: str, body: Any = None, *headers: tuple[str, str], ours: bool = True, query: str = ""
    ) -> Answer:
        """One request. ``body``: JSON, or bytes as they are; ``ours`` False: without Origin and content type."""
        pairs = [("host", HOST), *headers]
        if self.session:
            pairs.append(("cookie", f"{COOKIE}={self.session}"))
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if ours and method != "GET":
            pairs.append(("origin", f"http://{HOST}"))
        if ours and body is not None:
            pairs.append(("content-type", "application/json"))
        if raw and method == "GET":
            pairs.append(("content-length", str(len(raw))))
        app = self._rig.app.asgi
        answer = await ask(app, method, f"/admin/api{path}", pairs, raw, query=query, client=self._client)
        if "set-cookie" in answer.headers:
            self.session = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        return answer

    async def get(self, path: str, query: str = "") -> Answer:
        """``GET``."""
        return await self.send("GET", path, query=query)

    async def post(self, path: str, body: Any, *headers: tuple[str, str]) -> Answer:
        """``POST`` from a page of ours."""
        return await self.send("POST", path, body, *headers)


async def person(ledger: Ledger, name: str = "anna", role: PersonRole = "admin", user: str | None = None) -> Person:
    """Somebody with the password ``PASSWORD``; the hash is a cheap one."""
    if role == "admin":
        made = await ledger.act(people.create_admin, name, CHEAP)
        return made if user is None else await ledger.act(people.change, made.id, {"user": user})
    _, secret = await ledger.act(people.invite, name, role, user, {}, None)
    await ledger.act(people.join, secret_hash(secret), CHEAP, secret_hash(new_secret("")), "")
    return await ledger.ask(lambda raw: people.by_id(raw, name))


async def signed_in(rig: Rig, name: str = "anna", role: PersonRole = "admin", user: str | None = None) -> Browser:
    """A browser with a session of somebody new; nothing was hashed for it."""
    made = await person(rig.ledger, name, role, user)
    secret = new_secret("")
    await rig.ledger.act(sessions.begin, made.id, secret_hash(secret), "a test")
    return Browser(rig, secret)


async def token(rig: Rig) -> tuple[str, str]:
    """The header of an admin token."""
    _, secret = await rig.ledger.act(sessions.create_token, "ci", None, None)
    return ("authorization", f"Bearer {secret}")
