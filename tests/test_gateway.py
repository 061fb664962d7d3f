"""One request's story over a real ledger: what is refused, what is sent upstream, what is charged and when."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ModelConfig, TargetConfig, UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed
from streamrouter.ids import secret_hash
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import Headers
from streamrouter.request import Caller
from streamrouter.upstream.exchange import Target
from streamrouter.wire.chat import decode_call
from tests.ledger.books import until
from tests.relay.dialogue import Recorder
from tests.support.asgi import CONFIG, Played, Rig, ScriptedTransport, running, whole
from tests.support.upstream import DONE, delta, event, usage

STREAM = delta("Hi") + delta(None, finish="stop") + event({"choices": [], "usage": usage(7, 3)}) + DONE
TARGETS = [TargetConfig(upstream="up", model="first"), TargetConfig(upstream="up", model="second", rank=1)]
TWO_TARGETS = replace(CONFIG, models={"test": ModelConfig(exact=True, targets=TARGETS)})
LIMITED = replace(CONFIG, upstreams={"up": UpstreamConfig(base_url="demo:", max_answer_bytes=100)})


async def books(rig: Rig) -> tuple[int | None, int | None, int | None, int]:
    """Input and output used, output reserved, requests in flight."""
    used = await rig.ledger.usage("team-a")
    return used.input["used"], used.output["used"], used.output["reserved"], used.in_flight


@pytest.mark.parametrize(
    ("asked", "status", "code", "param"),
    [
        ({"model": "tset"}, 404, "model_not_found", "model"),
        ({"model": "org/other:1", "stream": True}, 400, "invalid_value", "stream"),
        ({"messages": [{"role": "user", "content": "word " * 1100}]}, 400, "context_length_exceeded", "messages"),
    ],
)
async def test_what_is_refused_before_anything_is_held(
    tmp_path: Path, asked: dict[str, Any], status: int, code: str, param: str
) -> None:
    transport = ScriptedTransport(whole())
    async with running(tmp_path, transport) as rig:
        answer = await rig.post(asked)
        assert (answer.status, answer.code, answer.json["error"]["param"]) == (status, code, param)
        assert await books(rig) == (0, 0, 0, 0)
        assert "request" not in [line["event"] for line in rig.lines()]
    assert transport.bodies == []


async def test_a_model_outside_the_allow_list(tmp_path: Path) -> None:
    async with running(tmp_path, models=["org/other:1"]) as rig:
        assert (await rig.post({})).code == "model_not_allowed"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, 100),  # the model's default
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 5000}, 200),  # the model's ceiling
        ({"messages": [{"role": "user", "content": "a " * 900}], "max_tokens": 150}, None),  # what the window leaves
    ],
)
async def test_the_limit_that_is_sent_is_the_one_that_is_held(
    tmp_path: Path, asked: dict[str, Any], sent: int | None
) -> None:
    transport = ScriptedTransport(whole())
    async with running(tmp_path, transport, daily_output=100_000) as rig:
        assert (await rig.post(asked)).status == 200
    body = transport.bodies[0]
    assert body["max_tokens"] == sent or (sent is None and 0 < body["max_tokens"] < 100)
    assert body["model"] == "test"


async def test_a_whole_answer_is_settled_before_it_is_sent(tmp_path: Path) -> None:
    found: list[tuple[int | None, int | None, int | None, int]] = []

    class Reply:
        """Looks at the books when it is asked to send."""

        async def whole(self, body: bytes, headers: Headers) -> None:
            assert (json.loads(body)["model"], dict(headers)[b"x-streamrouter-upstream"]) == ("test", b"up")
            found.append(await books(rig))

        async def stream(self, response: RelayResponse) -> None:
            raise AssertionError

    async with running(tmp_path) as rig:
        await rig.app.gateway.serve(call(), caller(rig), Reply())
    assert found == [(7, 3, 0, 0)]


def call(stream: bool = False) -> Any:
    body = {"model": "test", "stream": stream, "messages": [{"role": "user", "content": "Hi."}]}
    return decode_call(json.dumps(body).encode(), "req_1")


def caller(rig: Rig) -> Caller:
    found = rig.ledger.key_by_hash(secret_hash(rig.secret))
    assert found is not None
    return Caller(*found, CONFIG.surface[0])


async def test_an_answer_that_is_too_large_is_charged_whole(tmp_path: Path) -> None:
    async with running(tmp_path, config=LIMITED) as rig:
        answer = await rig.post({"max_tokens": 50})
        assert (answer.status, answer.code) == (502, "upstream_invalid_response")
        used_input, used_output, reserved, in_flight = await books(rig)
        assert (used_output, reserved, in_flight) == (50, 0, 0)
        assert used_input is not None
        assert used_input > 0


UNUSABLE: dict[str, tuple[Played | Upstreamed, int, str, bool]] = {  # answer, status, code, whether input is charged
    "HTML": (Played(b"<html>sk-secret</html>", "text/html"), 502, "upstream_invalid_response", True),
    "no choices": (Played(b'{"choices":[]}', "application/json"), 502, "upstream_invalid_response", True),
    "an error": (Played(b'{"error":{"code":"429"}}', "application/json"), 429, "upstream_rate_limited", False),
    "refused": (Upstreamed("upstream_unreachable", "Retry."), 502, "upstream_unreachable", False),
    "a 500": (Played(b"sk-secret", "text/plain", 500), 502, "upstream_invalid_response", False),
    "a 401": (Played(b"{}", "application/json", 401), 502, "upstream_auth", False),
    "a 400": (Played(b'{"error":{"message":"bad"}}', "application/json", 400), 400, "upstream_rejected", False),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("played", "status", "code", "charged"), UNUSABLE.values(), ids=UNUSABLE)
async def test_an_upstream_that_fails(
    tmp_path: Path, played: Played | Upstreamed, status: int, code: str, charged: bool, stream: bool
) -> None:
    async with running(tmp_path, ScriptedTransport(played)) as rig:
        answer = await rig.post({"stream": stream})
        assert (answer.status, answer.code) == (status, code)
        assert b"secret" not in answer.body
        used_input, used_output, reserved, in_flight = await books(rig)
        assert (bool(used_input), used_output, reserved, in_flight) == (charged, 0, 0, 0)


async def test_a_stream_is_relayed_settled_and_forgotten(tmp_path: Path) -> None:
    transport = ScriptedTransport(Played(STREAM))
    async with running(tmp_path, transport) as rig:
        answer = await rig.post({"stream": True})
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-request-id"].encode() in answer.body.split(b"\n\n")[0]
        assert answer.body.endswith(DONE)
        assert await books(rig) == (7, 3, 0, 0)
        assert rig.app.gateway.in_flight == {}
        assert "ttft_ms" in rig.lines()[0]
    assert transport.bodies[0]["stream_options"] == {"include_usage": True}


async def test_the_headers_of_an_answer(tmp_path: Path) -> None:
    async with running(tmp_path, daily_output=60, daily_input=5000, requests_per_minute=10) as rig:
        headers = (await rig.post({"max_tokens": 100})).headers
        held_input = 5000 - int(headers["x-ratelimit-remaining-input-tokens"])
        assert 0 < held_input < 100
        assert {
            name: value for name, value in headers.items() if name.startswith("x-") and "request-id" not in name
        } == {
            "x-streamrouter-upstream": "up",
            "x-streamrouter-max-tokens": "60",
            "x-ratelimit-limit-input-tokens": "5000",
            "x-ratelimit-remaining-input-tokens": str(5000 - held_input),
            "x-ratelimit-reset-input-tokens": "43200s",
            "x-ratelimit-limit-output-tokens": "60",
            "x-ratelimit-remaining-output-tokens": "0",
            "x-ratelimit-reset-output-tokens": "43200s",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "6000ms",
        }


async def test_without_caps_nothing_is_announced(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        headers = (await rig.post({})).headers
        assert not [name for name in headers if name.startswith(("x-ratelimit", "x-streamrouter-max"))]


class Silent(Played):
    """A stream of which nothing comes."""

    def push(self, target: Target) -> None:
        """Nothing."""


class Waiting:
    """A Reply that runs the stream on a sink of its own."""

    def __init__(self) -> None:
        self.sink = Recorder([])

    async def whole(self, body: bytes, headers: Headers) -> None:
        raise AssertionError

    async def stream(self, response: RelayResponse) -> None:
        await response._run(self.sink)


@pytest.mark.parametrize("ended_by", ["cancelled", "client_left", "server_shutdown"])
async def test_however_a_silent_stream_is_ended_it_is_settled_once(tmp_path: Path, ended_by: str) -> None:
    async with running(tmp_path, ScriptedTransport(Silent(b""))) as rig:
        reply = Waiting()
        serving = asyncio.create_task(rig.app.gateway.serve(call(stream=True), caller(rig), reply))
        await until(lambda: reply.sink.reader)
        assert (await books(rig))[3] == 1
        if ended_by == "cancelled":
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        elif ended_by == "client_left":
            assert reply.sink.reader is not None
            reply.sink.reader.client_gone()
            await serving
        else:
            assert rig.app.stop_streams(Refusal("server_shutdown", "Bye.")) == 1
            with pytest.raises(Refusal, match="Bye"):
                await serving
        assert (await books(rig))[2:] == (0, 0)
        assert reply.sink.all == b""
        assert [line["end"] for line in rig.lines()] == [ended_by]


class Late(Played):
    """Fails in the same breath as its first event comes (a deadline can fall together with it)."""

    def push(self, target: Target) -> None:
        target.feed(delta("a"))
        target.flush()
        raise Upstreamed("upstream_timeout", "Too late.")


async def test_nothing_is_tried_again_after_the_first_event(tmp_path: Path) -> None:
    transport = ScriptedTransport(Late(b""), Played(STREAM))
    async with running(tmp_path, transport, TWO_TARGETS) as rig:
        answer = await rig.post({"stream": True})
        first, last, _ = answer.body.split(b"\n\n")
        assert b'"content":"a"' in first
        assert b'"code":"upstream_timeout"' in last
    assert len(transport.bodies) == 1


async def test_a_fall_back_serves_when_the_first_target_fails(tmp_path: Path) -> None:
    transport = ScriptedTransport(Upstreamed("upstream_unreachable", "Retry."), Played(STREAM))
    async with running(tmp_path, transport, TWO_TARGETS) as rig:
        answer = await rig.post({"stream": True})
        assert (answer.status, answer.body.endswith(DONE)) == (200, True)
    assert [body["model"] for body in transport.bodies] == ["first", "second"]
