"""A shipped configuration, served by a real process against the scripted upstream, and what a client sees of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import streamrouter
from tests.conformance.background import in_background
from tests.conformance.wire import request
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream, Seen, completion

CONFIGS = Path(streamrouter.__file__).parent / "configs"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


class Api:
    """One surface of a running server. ``ask`` sends a small request with these members over it (None: left out)."""

    def __init__(self, server: Server, upstream: ScriptedUpstream, base: str, model: str) -> None:
        self.server = server
        self.upstream = upstream
        self.base = base
        self.model = model

    async def ask(self, key: str | None = None, headers: dict[str, str] | None = None, **members: Any) -> Answer:
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], **members}
        body = {name: value for name, value in body.items() if value is not ...}
        path = self.base + "/chat/completions"
        return Answer(*await request(self.server, "POST", path, key=key, headers=headers, body=body))

    async def get(self, path: str, key: str | None = None) -> Answer:
        return Answer(*await request(self.server, "GET", self.base + path, key=key))

    async def sent(self, **members: Any) -> dict[str, Any]:
        """What the upstream got for such a request, which must succeed."""
        self.upstream.seen.clear()
        answer = await self.ask(**members)
        assert answer.status == 200, answer.text
        return self.upstream.seen[-1].body

    async def refused(self, key: str | None = None, **members: Any) -> tuple[int, str]:
        """Status and code of such a request, of which the upstream must see nothing."""
        self.upstream.seen.clear()
        answer = await self.ask(key, **members)
        assert self.upstream.seen == []
        return answer.status, answer.error["code"]

    def key_of(self, user: str, *caps: str) -> str:
        """A key of a new user with such caps."""
        return self.server.user(user, *caps)


async def echo(seen: Seen) -> None:
    """A whole answer, however it was asked for."""
    await seen.json(completion("Hello there."))


@contextlib.contextmanager
def serving(name: str, folder: Path, base: str, model: str, *replaced: tuple[str, str]) -> Iterator[Api]:
    """``configs/NAME.toml`` as it is shipped; ``replaced``: pieces of its text, for what only a wait would show."""
    text = (CONFIGS / f"{name}.toml").read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    with in_background() as upstream:
        upstream.script = echo
        server = Server(folder, text, {"STREAMROUTER_UPSTREAM_URL": upstream.url})
        server.start()
        try:
            yield Api(server, upstream, base, model)
        finally:
            server.kill()


def run(server: Server, command: list[str], example: str, host: str, **variables: str) -> str:
    """What a document's example writes, unchanged but for the host (and the key, a variable)."""
    text = example.replace(host, server.root)
    assert text != example
    done = subprocess.run([*command, text], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
