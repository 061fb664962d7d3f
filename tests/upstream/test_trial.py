from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from streamrouter.clock import SystemClock
from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Upstreamed
from streamrouter.upstream.demo import DemoTransport
from streamrouter.upstream.dispatch import Upstream
from streamrouter.upstream.exchange import Target
from streamrouter.upstream.trial import MOST_BYTES, MOST_TOKENS, trial

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"pong"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Answered:
    """One answer, pushed at once; ``ends`` False: it never does."""

    def __init__(self, body: bytes, status: int = 200, fault: Upstreamed | None = None, *, ends: bool = True) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self.closed = False
        self._body, self._fault, self._ends = body, fault, ends

    def push(self, target: Target) -> None:
        target.feed(self._body)
        target.flush()
        if self._ends:
            target.ended(self._fault)

    async def read(self, most: int) -> tuple[bytes, bool]:
        return self._body[:most], True

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class Answers:
    def __init__(self, answer: Answered | Upstreamed) -> None:
        self.answer = answer
        self.body: dict[str, Any] = {}

    async def send(self, body: bytes, headers: Mapping[str, str], *, stream: bool) -> Answered:
        self.body = json.loads(body)
        if isinstance(self.answer, Upstreamed):
            raise self.answer
        return self.answer

    async def close(self) -> None: ...


async def tried(answer: Answered | Upstreamed, **config: Any) -> tuple[dict[str, Any], Answers]:
    transport = Answers(answer)
    upstream = Upstream("up", UpstreamConfig(base_url="http://x/v1", **config), transport)
    found = await trial(upstream, "gpt", SystemClock(), "req_1")
    assert isinstance(answer, Upstreamed) or answer.closed
    assert found.pop("duration_ms") >= 0
    return found, transport


async def test_an_answer_is_timed_and_told() -> None:
    found, transport = await tried(Answered(CHUNK + CHUNK + DONE), max_tokens_field="max_completion_tokens")
    assert (found.pop("ttft_ms") or 0) >= 0
    assert found == {"ok": True, "status": 200, "text": "pongpong", "error": None}
    assert (transport.body["model"], transport.body["max_completion_tokens"]) == ("gpt", MOST_TOKENS)


async def test_the_demo_answers() -> None:
    config = UpstreamConfig(base_url="demo:", demo_ttft_ms=0, demo_pace_ms=0)
    found = await trial(Upstream("demo", config, DemoTransport(config)), "demo", SystemClock(), "req_1")
    assert (found["ok"], found["error"]) == (True, None)


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Answered(b'{"error":{"message":"no"}}', 401), 401, "upstream_auth"),
        (Answered(b"", 500), 500, "upstream_invalid_response"),
        (Upstreamed("upstream_unreachable", "Gone."), None, "upstream_unreachable: Gone."),
        (Answered(CHUNK, fault=Upstreamed("upstream_disconnected", "Cut.")), 200, "upstream_disconnected"),
        (Answered(b"data: <html>\n\n"), 200, "upstream_invalid_response"),
        (Answered(b"data: " + b"x" * (MOST_BYTES + 1)), 200, "upstream_invalid_response"),
        (Answered(DONE), 200, "no text"),
    ],
)
async def test_what_goes_wrong_is_told(answer: Answered | Upstreamed, status: int | None, error: str) -> None:
    found, _ = await tried(answer)
    assert (found["ok"], found["status"]) == (False, status)
    assert error in found["error"]


async def test_an_answer_without_an_end_is_given_up() -> None:
    found, _ = await tried(Answered(CHUNK, ends=False), first_byte_s=0.01)
    assert (found["ok"], found["text"], found["error"]) == (False, "pong", "No whole answer in time.")


async def test_an_answer_that_is_too_long_is_not_read_on() -> None:
    found, _ = await tried(Answered(CHUNK.replace(b"pong", b"pong ") * 2000, ends=False))
    assert found["ok"]
    assert len(found["text"]) == 500
