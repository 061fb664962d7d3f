"""The samples for nginx and Caddy: checked by their own programs, and streamed through, one event at a time."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.support.encrypted import certificate, trusting
from tests.support.ports import free_ports
from tests.support.rig import Rig, call, rig, until
from tests.support.upstream import DONE, Seen, delta

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
AROUND = """\
daemon off;
master_process off;
error_log stderr;
pid nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {site};
}}
"""


def replaced(file: Path, **words: str) -> str:
    """The sample, with the names of a real machine in the place of its examples; each must be there."""
    text = file.read_text()
    for name, word in words.items():
        old = EXAMPLES[name]
        assert old in text, old
        text = text.replace(old, word)
    return text


EXAMPLES = {
    "listen": "listen 443 ssl",
    "listen6": "listen [::]:443 ssl",
    "cert": "/etc/ssl/llm.example.com.pem",
    "key": "/etc/ssl/llm.example.com.key",
    "server": "127.0.0.1:8000",
    "site": "llm.example.com {",
}


def program(name: str) -> str:
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    assert found is not None, f"tests/install.sh installs {name}"
    return found


class Front:
    """A proxy in front of the shared rig's server."""

    def __init__(self, url: str, trust: ssl.SSLContext | None) -> None:
        self.url = url
        self.trust = trust


def nginx(folder: Path, server: str) -> tuple[list[str], list[str], Front]:
    """How to check it, how to run it, and where it is then."""
    cert, key = certificate(folder)
    [port] = free_ports(1)
    listen = f"listen 127.0.0.1:{port} ssl"
    site = replaced(
        DEPLOY / "nginx/streamrouter.conf",
        listen=listen,
        listen6=f"listen [::1]:{port} ssl",
        cert=cert,
        key=key,
        server=server,
    )
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(AROUND.format(site=folder / "site.conf"))
    words = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return [*words, "-t"], words, Front(f"https://127.0.0.1:{port}", trusting(cert))


def caddy(folder: Path, server: str) -> tuple[list[str], list[str], Front]:
    """Likewise. The sample as it is would ask for a certificate; it is checked so, and run in clear text."""
    [port] = free_ports(1)
    front = Front(f"http://127.0.0.1:{port}", None)
    site = replaced(DEPLOY / "caddy/Caddyfile", site=front.url + " {", server=server)
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}\n" + site)
    how = ["--adapter", "caddyfile", "--config"]
    return (
        [program("caddy"), "validate", *how, str(DEPLOY / "caddy/Caddyfile")],
        [program("caddy"), "run", *how, str(folder / "Caddyfile")],
        front,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("behind")) as rigged:
        yield rigged


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
async def front(
    request: pytest.FixtureRequest, shared: Rig, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    """The proxy, running, once its own program has found nothing wrong with the sample."""
    folder = tmp_path_factory.mktemp("front")
    check, run, found = request.param(folder, shared.server.root.removeprefix("http://"))
    env = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("w") as log:
        checked = await asyncio.create_subprocess_exec(*check, env=env, stdout=log, stderr=log)
        assert await checked.wait() == 0, (folder / "log").read_text()
        process = await asyncio.create_subprocess_exec(*run, env=env, stdout=log, stderr=log)
    try:
        await until(lambda: listens(found.url, process, folder / "log"), "it listens", 15)
        yield found
    finally:
        process.kill()  # what is left of a failed test would be waited for
        await process.wait()


def listens(url: str, process: asyncio.subprocess.Process, log: Path) -> bool:
    assert process.returncode is None, log.read_text()
    host, port = url.rsplit("/", 1)[1].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


class Held:
    """The second word waits until ``go``, or until somebody has left."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta(" one"))
        waits = [asyncio.create_task(self.go.wait()), asyncio.create_task(seen.gone(20))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        if not self.go.is_set():
            self.left.set()
            return
        await seen.chunk(delta(" two", finish="stop") + DONE)
        await seen.end()


@pytest.mark.asyncio(loop_scope="module")
async def test_an_event_arrives_while_the_next_one_is_held_back(shared: Rig, front: Front) -> None:
    shared.upstream.script = held = Held()
    url = front.url + "/v1/chat/completions"
    headers = {**shared.headers(), "Accept-Encoding": "gzip"}
    async with shared.client.post(url, json=call(), headers=headers, ssl=front.trust or True) as response:
        assert (response.status, response.headers.get("content-encoding")) == (200, None)
        got = b""
        while b" one" not in got:
            got += await response.content.readany()
        held.go.set()
        got += await response.content.read()
    assert b" two" in got and got.endswith(DONE)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_that_leaves_ends_its_request(shared: Rig, front: Front) -> None:
    shared.upstream.script = held = Held()
    async with aiohttp.ClientSession() as client:
        asked = client.post(
            front.url + "/v1/chat/completions", json=call(), headers=shared.headers(), ssl=front.trust or True
        )
        async with asked as response:
            await response.content.readany()
            assert response.connection is not None and response.connection.transport is not None
            response.connection.transport.abort()  # a polite end of TLS waits for the other side's
    async with asyncio.timeout(10):
        await held.left.wait()


@pytest.mark.asyncio(loop_scope="module")
async def test_metrics_are_not_for_everybody(shared: Rig, front: Front) -> None:
    for path, status in (("/metrics", 404), ("/healthz", 200)):
        async with shared.client.get(front.url + path, ssl=front.trust or True) as response:
            assert response.status == status
