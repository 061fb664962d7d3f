"""A scripted upstream and a server in front of it, for tests that share one: admin, clients, and what the books say."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from streamrouter.control import call as control
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream, Seen

PROVIDER_KEY = "sk-provider-secret-0123456789"
CONFIG = """
[server]
{server}

[ledger]
{ledger}

[upstreams.main]
base_url = "{url}"
api_key = "{key}"
{upstream}

[models.test]
upstream_model = "up-model"
exact = true
price = {{ input = "0.40", output = "1.60", cache_read = "0.10" }}

[models."other/model:1"]
upstream_model = "other-up"

[[surface]]
name = "main"
billing = "{billing}"

{more}
"""


class Reply(Struct, frozen=True):
    """A response as the client got it; header names in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, of a body or of the last event."""
        found: dict[str, Any] = (self.events[-1] if self.text.startswith("data:") else self.json)["error"]
        return found

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream; ``[DONE]`` as text. Every line must be a data line or blank."""
        return events(self.text)

    @property
    def content(self) -> str:
        """The text of the stream's first choice."""
        return content(self.text)


def events(text: str) -> list[Any]:
    """The payloads of a stream's events."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block[6:] if block == "data: [DONE]" else json.loads(block[6:]) for block in blocks]


def content(text: str) -> str:
    """All content of choice 0 in the whole events of ``text`` (which may break off)."""
    whole = text[: text.rfind("\n\n") + 2]
    chunks = [e for e in events(whole) if isinstance(e, dict)]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ()) if choice["index"] == 0]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def call(stream: bool = True, **more: Any) -> dict[str, Any]:
    """A request body; its prompt has 10 tokens."""
    return {"model": "test", "stream": stream, "messages": [{"role": "user", "content": "Say hello."}], **more}


class Rig:
    """Server and upstream. ``client`` is shared; ``users`` made here are named after their number."""

    def __init__(self, server: Server, upstream: ScriptedUpstream, client: aiohttp.ClientSession) -> None:
        self.server = server
        self.upstream = upstream
        self.client = client
        self._users = 0

    # -- administration, over the server's own socket (the command line's way, without its start-up time)

    def admin(self, verb: str, **arguments: Any) -> Any:
        return control(str(self.server.ledger), verb, arguments)

    def user(self, *, concurrency: int | None = None, key_models: list[str] | None = None, **caps: Any) -> str:
        """A new account with a key (the account is ``name_of`` it); ``topup`` in USD among the caps."""
        self._users += 1
        name, amount = f"user{self._users}", caps.pop("topup", None)
        self.admin("user.create", user=name, **caps)
        if amount is not None:
            self.admin("topup", user=name, amount=amount)
        key: str = self.admin("key.create", user=name, concurrency=concurrency, models=key_models)["key"]
        return key

    @property
    def last_user(self) -> str:
        return f"user{self._users}"

    def usage(self, name: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = self.admin("usage", user=name)
        return found

    # -- clients

    def headers(self, key: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {key or self.server.key}"}

    def ask(self, body: Any, key: str = "") -> Any:
        """The request as a context manager; nothing of the answer is read."""
        return self.client.post(self.server.url + "/chat/completions", json=body, headers=self.headers(key))

    async def post(self, body: Any, key: str = "", headers: dict[str, str] | None = None) -> Reply:
        """Ask and read the answer to its end. ``body``: JSON-able, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json", **self.headers(key), **(headers or {})}
        async with self.client.post(
            self.server.url + "/chat/completions", data=io.BytesIO(raw), headers=all_headers
        ) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, found, await response.text())

    async def raw(self, data: bytes, *, timeout_s: float = 5.0) -> bytes:
        """Bytes to the server's port, and what comes back until it closes (or is silent for ``timeout_s``)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(data)
            return await read_all(reader, timeout_s)
        finally:
            writer.close()

    def http(self, body: bytes, extra: str = "", key: str = "", length: int | None = None) -> bytes:
        """A whole completions request on the wire."""
        size = len(body) if length is None else length
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key or self.server.key}\r\n"
            f"Content-Type: application/json\r\n{extra}Content-Length: {size}\r\n\r\n"
        ).encode() + body

    # -- what happened

    @property
    def seen(self) -> list[Seen]:
        return self.upstream.seen

    async def reached(self, count: int, timeout_s: float = 5.0) -> None:
        """Wait until the upstream has got ``count`` requests."""
        await until(lambda: len(self.seen) >= count, f"{count} requests at the upstream", timeout_s)

    def holds(self) -> list[dict[str, Any]]:
        """Every hold in the file, oldest first, after all that the server has put before."""
        with contextlib.suppress(Exception):  # not running: the file says it all
            self.admin("usage", user="default")
        return holds(self.server.ledger)

    def hold(self, request_id: str) -> dict[str, Any]:
        (found,) = [hold for hold in self.holds() if hold["id"] == request_id]
        return found

    async def settled(self, timeout_s: float = 5.0) -> list[dict[str, Any]]:
        """Wait until no hold is open; all holds then."""
        await until(lambda: all(hold["state"] != "open" for hold in self.holds()), "no open hold", timeout_s)
        assert self.server.process is not None and self.server.process.poll() is None
        return self.holds()

    def log(self) -> str:
        return self.server.log.read_text()


async def until(condition: Any, what: str, timeout_s: float = 5.0) -> None:
    """Wait for ``condition()``."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.005)


async def read_all(reader: asyncio.StreamReader, timeout_s: float = 5.0) -> bytes:
    """What comes until the end, a reset, or ``timeout_s`` in all."""
    got = b""
    try:
        async with asyncio.timeout(timeout_s):
            while piece := await reader.read(65536):
                got += piece
    except (TimeoutError, OSError):
        pass
    return got


def holds(ledger: Path) -> list[dict[str, Any]]:
    """Every hold in a ledger file, oldest first."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM hold ORDER BY created_ns, id")]
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def rig(
    directory: Path,
    *,
    server: str = "",
    ledger: str = "",
    upstream: str = "",
    billing: str = "tokens",
    more: str = "",
    ledger_at: Path | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[Rig]:
    """A rig in ``directory``. The texts are lines of the config's tables; ``{url}`` in ``more`` is the upstream's.

    ``ledger_at``: a directory for the ledger alone. ``env``: more of the server's environment.
    """
    async with ScriptedUpstream() as scripted:
        text = CONFIG.format(
            server=server,
            ledger=ledger,
            url=scripted.url,
            key=PROVIDER_KEY,
            upstream=upstream,
            billing=billing,
            more=more.replace("{url}", scripted.url),
        )
        running = Server(directory, text, env)
        if ledger_at is not None:
            running.ledger = ledger_at / "ledger.db"
        running.start()
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
            ) as client:
                yield Rig(running, scripted, client)
        finally:
            running.kill()
