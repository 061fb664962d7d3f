"""Which origins are let in, and how a preflight is answered."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from streamrouter.web.cors import Cors
from tests.support.asgi import Answer, Pairs, ask, scope_of

CHAT = "https://chat.example.org"


async def preflight(origins: list[str], *headers: tuple[str, str]) -> Answer:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Cors(origins).preflight(scope, send)

    return await ask(app, "OPTIONS", "/v1/chat/completions", headers)


@pytest.mark.parametrize(
    ("origins", "headers", "allowed"),
    [
        ([], [("origin", CHAT)], None),
        ([CHAT], [], None),
        ([CHAT], [("origin", CHAT)], CHAT),
        ([CHAT], [("origin", CHAT + ".evil.example")], None),
        ([CHAT], [("origin", CHAT.upper())], None),
        ([CHAT], [("origin", "null")], None),
        (["*"], [("origin", CHAT)], "*"),
        (["*"], [], None),
        (["*", CHAT], [("origin", CHAT)], CHAT),
    ],
)
def test_which_origin_is_allowed(origins: list[str], headers: Pairs, allowed: str | None) -> None:
    found = dict(Cors(origins).headers(scope_of(headers=headers)))
    got = found.get(b"access-control-allow-origin")
    assert got == (allowed.encode() if allowed else None)
    assert b"access-control-allow-credentials" not in found
    assert (found.get(b"vary") == b"Origin") is (allowed == CHAT)
    assert (b"x-request-id" in found.get(b"access-control-expose-headers", b"")) is (allowed is not None)


async def test_a_preflight_mirrors_the_headers_that_are_asked_for() -> None:
    asked = "authorization,content-type,x-stainless-os"
    answer = await preflight(
        [CHAT],
        ("origin", CHAT),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", asked),
        ("access-control-request-private-network", "true"),
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-headers"] == asked
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("asked", ["a\r\nb: c", "a;b", "x" * 2001, ""])
async def test_a_header_list_that_is_none_is_not_mirrored(asked: str) -> None:
    answer = await preflight([CHAT], ("origin", CHAT), ("access-control-request-headers", asked))
    assert "access-control-allow-headers" not in answer.headers


async def test_a_stranger_is_told_nothing() -> None:
    answer = await preflight([CHAT], ("origin", "https://evil.example"), ("access-control-request-headers", "a"))
    assert answer.status == 204
    assert answer.headers == {}
