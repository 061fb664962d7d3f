"""One server with short deadlines in front of the scripted upstream, shared by the tests of a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.rig import PROVIDER_KEY, Rig, rig

MORE = f"""
[upstreams.second]
base_url = "{{url}}"
api_key = "{PROVIDER_KEY}"
[upstreams.refused]
base_url = "http://127.0.0.1:1/v1"
[upstreams.unnamed]
base_url = "http://no-such-host.invalid/v1"
[upstreams.plain]
base_url = "https://127.0.0.1:{{port}}/v1"

[models.two]
exact = true
targets = [{{ upstream = "main" }}, {{ upstream = "second", rank = 1 }}]
[models.refused]
targets = [{{ upstream = "refused" }}]
[models.unnamed]
targets = [{{ upstream = "unnamed" }}]
[models.plain]
targets = [{{ upstream = "plain" }}]
[models.estimated]
encoding = "cl100k_base"
"""

UPSTREAM = """
first_byte_s = 0.4
idle_s = 0.3
total_s = 0.4
usage_wait_s = 0.2
cooldown_s = 0.05
max_answer_bytes = 1048576
"""


@contextlib.asynccontextmanager
async def no_tls() -> AsyncIterator[int]:
    """A port where TLS is not understood."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faulty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """See the module. A client may send 64 KiB in 0.4 s and be idle for 0.5 s; silence is filled every 0.15 s."""
    async with (
        no_tls() as port,
        rig(
            tmp_path_factory.mktemp("faulty"),
            server="keepalive_s = 0.15\nmax_body_bytes = 65536\nbody_timeout_s = 0.4\nidle_timeout_s = 0.5",
            upstream=UPSTREAM,
            more=MORE.replace("{port}", str(port)),
        ) as rigged,
    ):
        yield rigged
