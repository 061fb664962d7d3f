"""What HTTP is let in: the verdict on each kind of request, and what a refused one gets."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from streamrouter.web.gate import METHODS, MOST_HEADER_BYTES, MOST_HEADERS, MOST_PATH_BYTES, Gate, verdict
from tests.support.asgi import Pairs, ask, scope_of

CHUNKED = ("transfer-encoding", "chunked")
LENGTH = ("content-length", "3")

REFUSED: dict[str, tuple[str, str, Pairs, str]] = {
    "lower-case method": ("get", "/", [], "method_not_allowed"),
    "CONNECT": ("CONNECT", "/", [], "method_not_allowed"),
    "TRACE": ("TRACE", "/", [], "method_not_allowed"),
    "HTTP/2's preface": ("PRI", "*", [], "method_not_allowed"),
    "absolute form": ("GET", "http://evil.example/v1/models", [], "bad_request"),
    "asterisk form": ("OPTIONS", "*", [], "bad_request"),
    "no path": ("GET", "", [], "bad_request"),
    "two slashes": ("GET", "//admin", [], "bad_request"),
    "up": ("GET", "/v1/../admin", [], "bad_request"),
    "up at the end": ("GET", "/v1/..", [], "bad_request"),
    "here": ("GET", "/./v1", [], "bad_request"),
    "backslash": ("GET", "/v1\\models", [], "bad_request"),
    "NUL": ("GET", "/v1/\0", [], "bad_request"),
    "line break": ("GET", "/v1/\r\nx", [], "bad_request"),
    "escape": ("GET", "/\x1b[2J", [], "bad_request"),
    "right to left": ("GET", "/\u202emodels", [], "bad_request"),
    "long path": ("GET", "/" + "x" * MOST_PATH_BYTES, [], "bad_request"),
    "many headers": ("GET", "/", [(f"x-{i}", "") for i in range(MOST_HEADERS + 1)], "bad_request"),
    "large headers": ("GET", "/", [("x", "y" * MOST_HEADER_BYTES)], "bad_request"),
    "two framings": ("POST", "/", [CHUNKED, LENGTH], "bad_request"),
    "two lengths": ("POST", "/", [LENGTH, LENGTH], "bad_request"),
    "two hosts": ("GET", "/", [("host", "a"), ("host", "b")], "bad_request"),
    "two keys": ("GET", "/", [("authorization", "Bearer a"), ("authorization", "Bearer b")], "bad_request"),
    "h2c": ("GET", "/", [("upgrade", "H2C")], "bad_request"),
    "h2c among others": ("GET", "/", [("upgrade", "websocket, h2c")], "bad_request"),
}
LET_IN: dict[str, tuple[str, str, Pairs]] = {
    "root": ("GET", "/", []),
    "a model's id": ("GET", "/v1/models/org/other:1@x+y", []),
    "dots inside": ("GET", "/v1/models/gpt-5.4..x", []),
    "two slashes inside": ("GET", "/v1//models", []),
    "a long path": ("GET", "/" + "x" * (MOST_PATH_BYTES - 1), []),
    "chunked": ("POST", "/", [CHUNKED]),
    "a length": ("POST", "/", [LENGTH]),
    "many headers": ("GET", "/", [(f"x-{i}", "") for i in range(MOST_HEADERS)]),
    "headers that may repeat": ("GET", "/", [("accept", "a"), ("accept", "b")]),
}


@pytest.mark.parametrize(("method", "path", "headers", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(method: str, path: str, headers: Pairs, code: str) -> None:
    refusal = verdict(scope_of(method, path, headers))
    assert refusal is not None
    assert refusal.code == code


@pytest.mark.parametrize(("method", "path", "headers"), LET_IN.values(), ids=LET_IN)
def test_what_is_let_in(method: str, path: str, headers: Pairs) -> None:
    assert verdict(scope_of(method, path, headers)) is None


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_methods_that_are_let_in(method: str) -> None:
    assert verdict(scope_of(method, "/")) is None


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_a_refused_request_is_answered_without_the_application() -> None:
    gate = Gate(inside, lambda: "req_new")
    answer = await ask(gate, "GET", "//admin", [("host", "evil.example")])
    assert answer.status == 400
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == answer.json["error"]["request_id"] == "req_new"
    assert b"evil" not in answer.body
    assert (await ask(gate, "GET", "/")).status == 204


@pytest.mark.parametrize(
    ("kind", "answers"), [("websocket", [{"type": "websocket.close", "code": 1003}]), ("lifespan", [])]
)
async def test_other_protocols_never_reach_the_application(kind: str, answers: list[dict[str, Any]]) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await Gate(inside, lambda: "req_new")({"type": kind}, receive, send)
    assert sent == answers
