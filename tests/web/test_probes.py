"""Health, readiness and metrics: open to machines, and telling nothing that an attacker could use."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ServerConfig
from tests.support.asgi import CONFIG, ask, running


async def test_health_and_readiness_need_no_key_and_tell_no_version(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for path, body in [("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready", "reasons": []})]:
            answer = await ask(rig.app.asgi, "GET", path)
            assert (answer.status, answer.json) == (200, body)
            assert set(answer.headers) == {"content-type", "content-length"}


async def test_a_server_that_drains_is_alive_but_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.app.draining = True
        answer = await ask(rig.app.asgi, "GET", "/readyz")
        assert (answer.status, answer.json) == (503, {"status": "not ready", "reasons": ["draining"]})
        assert (await ask(rig.app.asgi, "GET", "/healthz")).status == 200


@pytest.mark.parametrize(("served", "status"), [(True, 200), (False, 404)])
async def test_metrics_can_be_switched_off(tmp_path: Path, served: bool, status: int) -> None:
    config = replace(CONFIG, server=ServerConfig(metrics=served))
    async with running(tmp_path, config=config) as rig:
        await rig.post({})
        answer = await ask(rig.app.asgi, "GET", "/metrics")
        assert answer.status == status
        assert (b"streamrouter_active_streams 0.0" in answer.body) is served
        assert rig.secret.encode() not in answer.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_are_read_only(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as rig:
        assert (await ask(rig.app.asgi, "POST", path)).status == 405
        assert (await ask(rig.app.asgi, "HEAD", path)).status == 200
