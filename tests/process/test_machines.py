"""Metrics on a listener of their own, and then not on the public port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ServerConfig
from streamrouter.process.machines import listen_for_machines, machine_server
from streamrouter.server.server import Server
from tests.support.asgi import CONFIG, Rig, ask, running

OWN = ServerConfig(metrics_port=0, tls_cert="no-such.pem", tls_key="no-such.key", http2=True)


@asynccontextmanager
async def listening(rig: Rig, config: ServerConfig) -> AsyncIterator[str]:
    sockets = listen_for_machines(config)
    server: Server = machine_server(rig.app.machine_asgi(), config, sockets)
    await server.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        await server.close_listeners()
        await server.abort()


async def test_metrics_and_probes_on_a_port_of_their_own_in_clear_text(tmp_path: Path) -> None:
    config = replace(CONFIG, server=replace(OWN, tls_cert=None, tls_key=None))
    async with (
        running(tmp_path, config=config) as rig,
        listening(rig, OWN) as url,
        aiohttp.ClientSession() as client,
    ):
        await rig.post({})
        async with client.get(url + "/metrics") as response:
            page = await response.text()
            assert (response.status, response.content_type) == (200, "text/plain")
        assert 'streamrouter_upstream_state{state="closed",upstream="up"} 1.0' in page
        assert "streamrouter_ready 1.0" in page
        assert rig.secret not in page
        for path, status in [("/healthz", 200), ("/readyz", 200), ("/v1/models", 404), ("/console", 404)]:
            async with client.get(url + path) as response:
                assert response.status == status
        assert (await ask(rig.app.asgi, "GET", "/metrics")).status == 404
        assert (await ask(rig.app.asgi, "GET", "/healthz")).status == 200


def test_without_a_port_there_is_no_listener() -> None:
    assert listen_for_machines(ServerConfig()) == []


def test_an_address_that_is_taken_is_told() -> None:
    [sock] = listen_for_machines(OWN)
    try:
        sock.listen()
        with pytest.raises(OSError, match="in use"):
            listen_for_machines(ServerConfig(metrics_port=sock.getsockname()[1]))
    finally:
        sock.close()
