"""What the application joins: transports, readiness, stopping streams, the line and the metrics of a settlement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.app import make_upstreams, transport_of
from streamrouter.config.schema import ModelConfig, ServerConfig, SurfaceConfig, UpstreamConfig
from streamrouter.errors import Refusal
from streamrouter.ledger.records import Hold
from streamrouter.upstream.client import HttpTransport
from streamrouter.upstream.demo import DemoTransport
from tests.relay.dialogue import hold
from tests.support.asgi import CONFIG, Played, Rig, ScriptedTransport, ask, running, whole
from tests.support.upstream import DONE, delta

SHUTDOWN = Refusal("server_shutdown", "Bye.")


@pytest.mark.parametrize(
    ("url", "kind"),
    [("demo:", DemoTransport), ("http://127.0.0.1:1/v1", HttpTransport), ("https://a", HttpTransport)],
)
async def test_the_transport_of_an_upstream(url: str, kind: type) -> None:
    transport = transport_of(UpstreamConfig(base_url=url))
    assert type(transport) is kind
    await transport.close()


async def test_an_upstream_without_an_address_is_left_out() -> None:
    made = make_upstreams({"demo": UpstreamConfig(base_url="demo:"), "empty": UpstreamConfig()})
    assert list(made) == ["demo"]
    assert made["demo"].name == "demo"


async def test_an_upstream_that_did_not_change_is_the_same_one() -> None:
    before = make_upstreams({"a": UpstreamConfig(base_url="demo:"), "b": UpstreamConfig(base_url="demo:")})
    again = make_upstreams(
        {"a": UpstreamConfig(base_url="demo:"), "b": UpstreamConfig(base_url="demo:", idle_s=9), "c": UpstreamConfig()},
        before,
    )
    assert list(again) == ["a", "b"]
    assert again["a"] is before["a"]
    assert again["b"] is not before["b"]


async def test_another_configuration_is_served_from_the_next_request_on(tmp_path: Path) -> None:
    async with running(tmp_path, ScriptedTransport(whole())) as rig:
        before = rig.app.gateway
        assert (await rig.post({"model": "new"})).code == "model_not_found"
        models = {**CONFIG.models, "new": ModelConfig(exact=True)}
        server = ServerConfig(cors_origins=["https://app.example"], max_body_bytes=200)
        surfaces = [SurfaceConfig(name="main", base_path="/api/v1")]
        rig.app.renew(replace(CONFIG, models=models, server=server, surface=surfaces))
        assert (await rig.post({"model": "new"})).status == 404
        answer = await rig.post({"model": "new"}, ("origin", "https://app.example"), path="/api/v1/chat/completions")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")
        assert (await rig.post({"user": "x" * 200}, path="/api/v1/chat/completions")).code == "request_too_large"
        assert await metric(rig, 'streamrouter_tokens_total{kind="input",model="new"}') == 7
        assert (before.serving, rig.app.gateway.serving) == (0, 0)
        assert rig.app.gateway.in_flight is before.in_flight


async def test_a_resumable_stream_can_be_read_after_a_reload(tmp_path: Path) -> None:
    transport = ScriptedTransport(Played(delta("a") + delta(None, finish="stop") + DONE))
    async with running(tmp_path, transport) as rig:
        begun = await rig.post({"stream": True}, ("x-streamrouter-resume", "1"))
        rig.app.renew(CONFIG)
        again = await rig.get("/v1/streams/" + begun.headers["x-request-id"])
        assert (again.status, again.body) == (200, begun.body)


async def test_the_tokenizers_of_all_models_are_loaded_ahead(tmp_path: Path) -> None:
    models = {"a": ModelConfig(), "b": ModelConfig(encoding="cl100k_base")}
    async with running(tmp_path, config=replace(CONFIG, models=models)) as rig:
        await rig.app.warm()
        assert set(rig.app.counters._loaded) == {"o200k_base", "cl100k_base"}


async def test_how_upstreams_stand_is_a_metric(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        assert rig.app.upstream_states() == {"up": "closed"}
        rig.app.dispatch.upstreams["up"].breaker.failed(rig.clock.monotonic(), 30.0)
        assert await metric(rig, 'streamrouter_upstream_state{state="cooling",upstream="up"}') == 1


async def test_why_it_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        assert rig.app.reasons() == []
        rig.app.draining = True
        rig.app.dispatch.upstreams = {}
        rig.ledger.health = lambda: "the disk is full"  # type: ignore[method-assign]
        assert rig.app.reasons() == ["draining", "ledger: the disk is full", "no upstream is configured"]


class Stoppable:
    """A request in flight that counts how often it is stopped."""

    def __init__(self, key_id: str) -> None:
        self.hold: Hold = hold(10, 10)
        self.hold.key_id = key_id
        self.stops = 0

    def stop(self, refusal: Refusal) -> None:
        self.stops += refusal is SHUTDOWN


async def test_all_requests_are_stopped_or_those_of_one_key(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        assert rig.app.stop_streams(SHUTDOWN) == 0
        first, second = Stoppable("key_1"), Stoppable("key_2")
        in_flight: Any = {"1": first, "2": second}
        rig.app.gateway.in_flight = in_flight
        assert rig.app.stop_streams(SHUTDOWN, lambda hold: hold.key_id == "key_2") == 1
        assert rig.app.stop_streams(SHUTDOWN) == 2
        assert (first.stops, second.stops) == (1, 2)


async def metric(rig: Rig, name: str) -> float:
    page = (await ask(rig.app.asgi, "GET", "/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


async def test_a_settlement_is_logged_and_counted_once(tmp_path: Path) -> None:
    priced = replace(CONFIG.models["test"], price=replace(CONFIG.models["test"].price, input="1", output="2"))
    config = replace(CONFIG, models={"test": priced}, server=ServerConfig())
    async with running(tmp_path, config=config) as rig:
        answer = await rig.post({})
        [line] = rig.lines()
        del line["time"], line["level"], line["duration_ms"]
        key = next(key for key in await rig.ledger.keys("team-a"))
        assert line == {
            "event": "request",
            "id": answer.headers["x-request-id"],
            "status": 200,
            "user": "team-a",
            "key": key.display,
            "surface": "main",
            "model": "test",
            "upstream": "up",
            "end": "finished",
            "input_tokens": 7,
            "output_tokens": 3,
            "cached_tokens": 0,
            "cost_usd": "0.000013",
            "usage_source": "upstream",
        }
        assert await metric(rig, 'streamrouter_requests_total{end="finished"') == 1
        assert await metric(rig, 'streamrouter_tokens_total{kind="input",model="test"}') == 7
        assert await metric(rig, 'streamrouter_tokens_total{kind="output",model="test"}') == 3
        assert await metric(rig, 'streamrouter_upstream_attempts_total{outcome="ok",upstream="up"}') == 1
        assert await metric(rig, "streamrouter_active_streams") == 0
