"""One server and one scripted upstream per module: what is under test is the wire, not their start."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.background import in_background
from tests.conformance.sdk import Sdk
from tests.support.node import installed
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream

CONFIG = """
[server]
keepalive_s = {keepalive_s}
commit_status_s = {commit_status_s}
max_body_bytes = 65536
body_timeout_s = 1
cors_origins = ["https://chat.example.org"]

[upstreams.main]
base_url = "{url}"
api_key = "sk-provider-secret-0123456789"

[upstreams.demo]
base_url = "demo:"
demo_ttft_ms = 1
demo_pace_ms = 0

[upstreams.slow]
base_url = "{url}"
first_byte_s = 0.1
total_s = 0.1

[upstreams.closed]
base_url = "{closed}"

[models.test]
upstream_model = "up-model"
exact = true
price = {{ input = "0.40", output = "1.60", cache_read = "0.10" }}

[models."other/model:1"]
[models.whole]
streaming = false
[models.tiny]
context_length = 16
max_output_tokens = 8
[models.demo]
targets = [{{ upstream = "demo" }}]
[models.slow]
targets = [{{ upstream = "slow" }}]
[models.closed]
targets = [{{ upstream = "closed" }}]

[[surface]]
name = "main"

[[surface]]
name = "prepaid"
base_path = "/prepaid/v1"
billing = "prepaid"

[[surface]]
name = "prepaid429"
base_path = "/prepaid429/v1"
billing = "prepaid"
balance_status = 429
"""


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedUpstream]:
    with in_background() as upstream:
        yield upstream


@pytest.fixture
def upstream(scripted: ScriptedUpstream) -> ScriptedUpstream:
    """The module's upstream, with nothing of the last test in it."""
    scripted.script = None
    scripted.queue.clear()
    scripted.seen.clear()
    return scripted


@pytest.fixture(scope="module")
def start(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers for the module. ``config``: instead of the one above."""
    with contextlib.ExitStack() as stack:

        def make(*, keepalive_s: float = 15, commit_status_s: float = 50, config: str | None = None) -> Server:
            text = config or CONFIG.format(
                url=scripted.url,
                closed=scripted.url.replace("127.0.0.1", "127.0.0.2"),  # nothing listens there
                keepalive_s=keepalive_s,
                commit_status_s=commit_status_s,
            )
            server = Server(tmp_path_factory.mktemp("server"), text)
            stack.callback(server.kill)
            return server.start()

        yield make


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture(scope="module")
def restless(start: Callable[..., Server]) -> Server:
    """A server that fills every silence of 0.3 s, and sends a stream's headers after 0.5 s."""
    return start(keepalive_s=0.3, commit_status_s=0.5)


@pytest.fixture(params=["sync", "async"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Sdk]]:
    """Make clients of one kind; all are closed at the end."""
    made: list[Sdk] = []

    def make(server: Server, **more: Any) -> Sdk:
        made.append(Sdk(request.param, server, **more))
        return made[-1]

    yield make
    for sdk in made:
        await sdk.close()


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder in which ``node`` finds the npm packages; installed if they are not there yet."""
    return installed()
