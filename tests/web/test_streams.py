"""Resumable streams as plain ASGI calls: who may ask, who may come back, what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace
from starlette.types import Message

from streamrouter.config.schema import ServerConfig
from streamrouter.relay import resume
from streamrouter.upstream.exchange import Target
from streamrouter.web.streams import wants_resume
from tests.ledger.books import until
from tests.support.asgi import CONFIG, Answer, Played, Rig, ScriptedTransport, ask, running, scope_of, whole
from tests.support.upstream import DONE, delta

RESUME = ("x-streamrouter-resume", "1")
EVENTS = [delta("a"), delta("b"), delta(None, finish="stop"), DONE]


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("0", False), ("true", False), (None, False)])
def test_the_header(value: str | None, wanted: bool) -> None:
    assert wants_resume(scope_of("POST", "/", [] if value is None else [(RESUME[0], value)])) == wanted


def streaming() -> ScriptedTransport:
    return ScriptedTransport(Played(b"".join(EVENTS)))


async def get(rig: Rig, stream_id: str, after: str | None = None, secret: str | None = None) -> Answer:
    """Read a stream; plain ASGI has no query in its path."""
    answer = Answer()
    scope = scope_of("GET", f"/v1/streams/{stream_id}", [("authorization", f"Bearer {secret or rig.secret}")])
    scope["query_string"] = b"" if after is None else f"after={after}".encode()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async with asyncio.timeout(5):
        await rig.app.asgi(scope, receive, send)
    return answer


async def test_a_stream_is_the_same_and_can_be_read_again(tmp_path: Path) -> None:
    async with running(tmp_path, streaming()) as rig:
        answer = await rig.post({"stream": True}, RESUME)
        stream_id = answer.headers["x-streamrouter-resume"]
        assert stream_id == answer.headers["x-request-id"]
        assert answer.headers["content-type"].startswith("text/event-stream")
        parts = answer.body.split(b"\n\n")[:-1]
        assert len(parts) == len(EVENTS)
        for after in range(len(parts) + 1):
            again = await get(rig, stream_id, str(after))
            assert again.body == b"".join(part + b"\n\n" for part in parts[after:])
            assert again.headers == answer.headers
        assert (await get(rig, stream_id)).body == answer.body
        used = await rig.ledger.usage("team-a")
        assert (used.in_flight, used.output["used"], used.output["reserved"]) == (0, 1, 0)


async def test_without_the_header_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, streaming()) as rig:
        answer = await rig.post({"stream": True})
        assert "x-streamrouter-resume" not in answer.headers
        assert (await get(rig, answer.headers["x-request-id"])).code == "not_found"
        assert len(rig.app.streams.replays) == 0


async def test_a_whole_answer_takes_no_notice(tmp_path: Path) -> None:
    async with running(tmp_path, ScriptedTransport(whole())) as rig:
        answer = await rig.post({}, RESUME)
        assert (answer.status, answer.json["model"], len(rig.app.streams.replays)) == (200, "test", 0)


async def test_a_browser_may_ask_and_come_back(tmp_path: Path) -> None:
    config = replace(CONFIG, server=ServerConfig(cors_origins=["https://chat.example.org"]))
    origin = ("origin", "https://chat.example.org")
    async with running(tmp_path, streaming(), config) as rig:
        for path in ("/v1/chat/completions", "/v1/streams/req_1"):
            asked = ("access-control-request-headers", "authorization,content-type,x-streamrouter-resume")
            answer = await ask(rig.app.asgi, "OPTIONS", path, [origin, asked])
            assert answer.headers["access-control-allow-headers"] == asked[1]
            assert {"GET", "POST"} <= set(answer.headers["access-control-allow-methods"].split(", "))
        stream_id = (await rig.post({"stream": True}, RESUME, origin)).headers["x-streamrouter-resume"]
        for id_ in (stream_id, "req_nobody"):
            answer = await rig.get(f"/v1/streams/{id_}", origin)
            assert answer.headers["access-control-allow-origin"] == origin[1]
            assert "x-streamrouter-resume" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("after", ["-1", "x", "", "1e3", "²", "9" * 16, "5"])
async def test_an_after_that_is_no_number_of_events(tmp_path: Path, after: str) -> None:
    async with running(tmp_path, streaming()) as rig:
        stream_id = (await rig.post({"stream": True}, RESUME)).headers["x-request-id"]
        answer = await get(rig, stream_id, after)
        assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_value", "after")


async def test_only_the_same_key_may_read(tmp_path: Path) -> None:
    async with running(tmp_path, streaming()) as rig:
        stream_id = (await rig.post({"stream": True}, RESUME)).headers["x-request-id"]
        _, other = await rig.ledger.create_key("team-a", "main", "sk-", None, None)
        for id_, secret, code in (
            (stream_id, other, "not_found"),
            ("req_nobody", rig.secret, "not_found"),
            (stream_id, "sk-x", "invalid_api_key"),
        ):
            assert (await get(rig, id_, secret=secret)).code == code
        head = await ask(rig.app.asgi, "HEAD", f"/v1/streams/{stream_id}", [("authorization", f"Bearer {rig.secret}")])
        assert head.status == 405
        await rig.ledger.revoke_key(rig.key_id)
        assert (await get(rig, stream_id)).status == 401


async def test_past_the_buffer(tmp_path: Path) -> None:
    config = replace(CONFIG, server=ServerConfig(resume_buffer_bytes=1))
    async with running(tmp_path, streaming(), config) as rig:
        stream_id = (await rig.post({"stream": True}, RESUME)).headers["x-request-id"]
        answer = await get(rig, stream_id, "0")
        assert (answer.status, answer.code, answer.headers["x-should-retry"]) == (410, "stream_expired", "false")
        assert (await get(rig, stream_id, "4")).body == b""


async def test_past_the_window(tmp_path: Path) -> None:
    config = replace(CONFIG, server=ServerConfig(resume_window_s=0.02))
    async with running(tmp_path, streaming(), config) as rig:
        stream_id = (await rig.post({"stream": True}, RESUME)).headers["x-request-id"]
        await asyncio.sleep(0.05)
        assert (await get(rig, stream_id, "4")).code == "stream_expired"


async def test_a_refusal_has_its_status_and_leaves_nothing(tmp_path: Path) -> None:
    unusable = Played(b"<html>", "text/html")
    async with running(tmp_path, ScriptedTransport(unusable)) as rig:
        for asked, status, code in (
            ({"stream": True, "model": "nope"}, 404, "model_not_found"),
            ({"stream": True}, 502, "upstream_invalid_response"),
        ):
            answer = await rig.post(asked, RESUME)
            assert (answer.status, answer.code) == (status, code)
        assert len(rig.app.streams.replays) == 0
        await rig.app.streams.finished(1)
        assert (await rig.ledger.usage("team-a")).in_flight == 0


async def test_too_many_at_once_are_served_as_plain_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "MOST_LIVE", 0)
    async with running(tmp_path, streaming()) as rig:
        answer = await rig.post({"stream": True}, RESUME)
        assert answer.body.endswith(DONE)
        assert "x-streamrouter-resume" not in answer.headers


class Stuck:
    """An answer that is never over: one event, then silence."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}

    def __init__(self, events: bytes = EVENTS[0]) -> None:
        self.closed = False
        self._events = events

    def push(self, target: Target) -> None:
        if self._events:
            target.feed(self._events)
            asyncio.get_running_loop().call_soon(target.flush)

    async def read(self, most: int) -> tuple[bytes, bool]:
        raise AssertionError

    def pause(self) -> None:
        """Nothing comes anyway."""

    def resume(self) -> None:
        """Nothing comes anyway."""

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("status", [True, False])
async def test_a_request_that_is_cancelled(tmp_path: Path, status: bool) -> None:
    """With a status it is as if its client had left; before, the call goes with it."""
    exchange = Stuck() if status else Stuck(b"")
    async with running(tmp_path, ScriptedTransport(exchange)) as rig:
        task = asyncio.create_task(rig.post({"stream": True}, RESUME))
        await until(lambda: rig.app.gateway.in_flight)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rig.app.streams.finished(0.05)
        assert len(rig.app.gateway.in_flight) == int(status)
        assert exchange.closed != status
        for request in list(rig.app.gateway.in_flight.values()):
            assert request.relay is not None
            request.relay.client_gone()
        await rig.app.streams.finished(1)
        assert (await rig.ledger.usage("team-a")).in_flight == 0
