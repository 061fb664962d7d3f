"""The route of completions: in which order it refuses, what it logs, and its outer border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ServerConfig, SurfaceConfig
from streamrouter.upstream.exchange import Target
from tests.support.asgi import CONFIG, Pairs, Played, ScriptedTransport, ask, running, whole
from tests.support.upstream import DONE, delta

PATH = "/v1/chat/completions"
JSON = ("content-type", "application/json")
SMALL = replace(CONFIG, server=ServerConfig(max_body_bytes=200, body_timeout_s=0.02))


class Bug(ScriptedTransport):
    """An upstream whose transport has a fault of ours in it."""

    def __init__(self) -> None:
        super().__init__(whole())

    async def send(self, body: bytes, headers: Any, *, stream: bool) -> Any:
        raise ZeroDivisionError("sk-provider-secret at http://10.0.0.1")


class LateBug(Played):
    """The fault comes after the first event."""

    def push(self, target: Target) -> None:
        target.feed(delta("a"))
        target.flush()
        raise ZeroDivisionError("sk-provider-secret at http://10.0.0.1")


async def test_an_answer_and_its_log_line(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        answer = await rig.post({}, ("x-request-id", "mine"))
        assert answer.status == 200
        assert answer.headers["x-client-request-id"] == "mine"
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["x-request-id"].startswith("req_")
        line = rig.lines()[0]
        assert (line["event"], line["id"], line["end"]) == ("request", answer.headers["x-request-id"], "finished")
        assert rig.secret not in rig.log.read_text()


REFUSED: dict[str, tuple[str, Pairs, bytes, str]] = {
    "the method comes first": ("GET", [], b"", "method_not_allowed"),
    "then the key": ("POST", [("content-type", "text/plain")], b"rubbish", "missing_api_key"),
    "a wrong key": ("POST", [("api-key", "sk-x"), ("content-length", "999")], b"", "invalid_api_key"),
    "then the type": ("POST", [("api-key", "KEY"), ("content-length", "999")], b"x" * 999, "unsupported_media_type"),
    "then the size": ("POST", [("api-key", "KEY"), JSON], b"x" * 999, "request_too_large"),
    "then the text": ("POST", [("api-key", "KEY"), JSON], b"{", "invalid_json"),
    "then the fields": ("POST", [("api-key", "KEY"), JSON], b'{"model":"test"}', "missing_required_parameter"),
}


@pytest.mark.parametrize(("method", "headers", "body", "code"), REFUSED.values(), ids=REFUSED)
async def test_the_order_of_refusals(tmp_path: Path, method: str, headers: Pairs, body: bytes, code: str) -> None:
    transport = ScriptedTransport(whole())
    async with running(tmp_path, transport, SMALL) as rig:
        pairs = [(name, value.replace("KEY", rig.secret)) for name, value in headers]
        answer = await ask(rig.app.asgi, method, PATH, [*pairs, ("x-request-id", "mine")], body)
        assert answer.code == code
        assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
        assert answer.headers["x-client-request-id"] == "mine"
        assert [(line["event"], line["code"]) for line in rig.lines()] == [("refused", code)]
        assert (
            f'streamrouter_refusals_total{{code="{code}"}} 1.0'.encode()
            in (await ask(rig.app.asgi, "GET", "/metrics")).body
        )
    assert transport.bodies == []


async def test_a_server_that_drains_takes_nothing_new(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.app.draining = True
        answer = await rig.post({})
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "server_shutdown", "1")


async def test_a_client_that_leaves_before_its_body_is_whole_gets_no_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        answer = await ask(rig.app.asgi, "POST", PATH, [("api-key", rig.secret), JSON], b"{", leaves=True)
        assert answer.messages == []
        assert [(line["event"], line["status"]) for line in rig.lines()] == [("client_left", 499)]
        assert (await rig.ledger.usage("team-a")).in_flight == 0


@pytest.mark.parametrize("status", [402, 429])
async def test_the_status_of_an_empty_balance_is_the_surfaces(tmp_path: Path, status: Any) -> None:
    priced = replace(CONFIG.models["test"], price=replace(CONFIG.models["test"].price, input="1", output="1"))
    surface = SurfaceConfig(name="main", billing="prepaid", balance_status=status)
    config = replace(CONFIG, surface=[surface], models={"test": priced})
    async with running(tmp_path, config=config) as rig:
        answer = await rig.post({})
        assert (answer.status, answer.code) == (status, "insufficient_balance")
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_is_a_clean_500(tmp_path: Path, stream: bool) -> None:
    async with running(tmp_path, Bug()) as rig:
        answer = await rig.post({"stream": stream})
        assert (answer.status, answer.code) == (500, "internal_error")
        assert b"secret" not in answer.body
        assert b"10.0.0.1" not in answer.body
        assert b"Traceback" not in answer.body
        assert (await rig.ledger.usage("team-a")).in_flight == 0
        kinds = [line.get("kind") for line in rig.lines() if line["event"] == "internal_error"]
        assert kinds == ["ZeroDivisionError"]


async def test_after_the_start_a_bug_ends_the_stream_and_sends_no_second_status(tmp_path: Path) -> None:
    """The start itself may be lost: what was queued is dropped, and the server cuts the connection."""
    async with running(tmp_path, ScriptedTransport(LateBug(b""))) as rig:
        answer = await rig.post({"stream": True})
        assert answer.status in (0, 200)
        assert DONE not in answer.body
        assert b"error" not in answer.body
        assert not any(message.get("more_body") is False for message in answer.messages)
        assert (await rig.ledger.usage("team-a")).in_flight == 0
        assert any(line["event"] == "internal_error" for line in rig.lines())
