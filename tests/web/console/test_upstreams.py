from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from streamrouter.errors import Upstreamed
from streamrouter.web.console.answers import server
from tests.support.admin_api import admin_api
from tests.support.asgi import Played, ScriptedTransport, whole

STREAM = b'data: {"choices":[{"index":0,"delta":{"content":"pong"}}]}\n\ndata: [DONE]\n\n'


async def test_models_with_prices_and_targets(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        found: Any = await api.read(server.Models, "/models")
        assert [(model.id, model.streaming, model.targets[0].upstream) for model in found.data] == [
            ("test", True, "up"),
            ("org/other:1", False, "up"),
        ]


async def test_an_upstream_that_fails_is_told_by_its_state(tmp_path: Path) -> None:
    fault = Upstreamed("upstream_unreachable", "Gone.")
    async with admin_api(tmp_path, ScriptedTransport(whole(), fault)) as api:

        async def state() -> tuple[Any, ...]:
            [found] = (await api.read(server.Upstreams, "/upstreams")).data  # type: ignore[attr-defined]
            return found.state, found.cooldown_until, found.requests, found.errors

        await api.spend()
        assert await state() == ("closed", None, 1, 0)
        for _ in range(3):
            assert (await api.rig.post({})).status == 502
        assert await state() == ("open", "2024-10-04T12:00:10Z", 4, 3)
        api.rig.clock.pass_s(11)
        assert await state() == ("half_open", None, 4, 3)


async def test_an_upstream_is_tried_and_nobody_is_charged(tmp_path: Path) -> None:
    transport = ScriptedTransport(Played(STREAM), Upstreamed("upstream_unreachable", "Gone."))
    async with admin_api(tmp_path, transport) as api:
        good = msgspec.convert(await api.post("/upstreams/up/test", {"model": "test"}), server.Tested)
        assert (good.ok, good.text, transport.bodies[0]["model"]) == (True, "pong", "test")
        bad = msgspec.convert(await api.post("/upstreams/up/test", {"model": "test"}), server.Tested)
        assert (bad.ok, bad.status, bad.error) == (False, None, "upstream_unreachable: Gone.")
        assert (await api.call("POST", "/upstreams/none/test", {"model": "test"})).status == 404
        for body in ({"model": "tset"}, {}, {"model": "test", "prompt": "x"}):
            assert (await api.call("POST", "/upstreams/up/test", body)).status == 400
        assert (await api.get("/requests"))["data"] == []
