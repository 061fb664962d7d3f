"""Every refusal that a client can meet: its status, its headers, and OpenAI's schema of errors."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streamrouter.errors import RULES
from tests.conformance.schemas import faults
from tests.conformance.scripts import answered, held
from tests.conformance.wire import Reply, call, post, request
from tests.support.server import Server
from tests.support.upstream import Script, ScriptedUpstream, Seen, completion

Provoke = Callable[[Server, ScriptedUpstream], Awaitable[Reply]]

ELSEWHERE = {
    **dict.fromkeys(
        ["not_signed_in", "wrong_password", "forbidden", "forbidden_origin", "too_many_attempts", "link_expired"],
        "tests/security/test_console.py: the admin API alone",
    ),
    "last_admin": "tests/web/console/test_people.py: the admin API alone",
    "idempotency_completed": "tests/journeys/test_idempotency.py",
    "idempotency_in_progress": "tests/journeys/test_idempotency.py",
    "idempotency_key_reused": "tests/journeys/test_idempotency.py",
    "internal_error": "a bug",
    "ledger_unavailable": "tests/faults: a full disk",
    "overloaded": "tests/faults: more waiting requests than max_waiting_requests",
    "stream_expired": "tests/journeys/test_resume.py",
    "server_shutdown": "tests/journeys: a server that drains",
    "stopped_by_admin": "tests/web/console/test_flights.py",
    "upstream_not_configured": "no configuration without an upstream is accepted",
    "upstream_truncated": "only ever inside a stream (test_schemas.py)",
}


def body(**more: Any) -> Provoke:
    """A request with a bad body."""

    async def provoke(server: Server, upstream: ScriptedUpstream) -> Reply:
        return await post(server, call(**more))

    return provoke


def http(method: str, path: str, **more: Any) -> Provoke:
    """Any request."""

    async def provoke(server: Server, upstream: ScriptedUpstream) -> Reply:
        return await request(server, method, path, **more)

    return provoke


def user(name: str, *options: str, requests: int = 1, **members: Any) -> Provoke:
    """A request of a user with caps; the last of several."""

    async def provoke(server: Server, upstream: ScriptedUpstream) -> Reply:
        upstream.script = answered(completion("Hi."))
        key = server.user(name, *options)
        replies = [await post(server, call(stream=False, **members), key=key) for _ in range(requests)]
        return replies[-1]

    return provoke


def played(script: Script, model: str = "test") -> Provoke:
    """A request whose upstream plays this."""

    async def provoke(server: Server, upstream: ScriptedUpstream) -> Reply:
        upstream.script = script
        return await post(server, call(model))

    return provoke


async def poor(server: Server, upstream: ScriptedUpstream) -> Reply:
    server.cli("user", "create", "poor")
    key = server.cli("key", "create", "poor", "--surface", "prepaid")["key"]
    return await post(server, call(), key=key, path="/prepaid/v1")


async def two_at_once(server: Server, upstream: ScriptedUpstream) -> Reply:
    server.cli("user", "create", "single")
    key = server.cli("key", "create", "single", "--concurrency", "1")["key"]
    began, release = threading.Event(), threading.Event()

    async def script(seen: Seen) -> None:
        began.set()
        await held(release)(seen)

    upstream.script = script
    first = asyncio.create_task(post(server, call(), key=key))
    assert await asyncio.to_thread(began.wait, 10)
    second = await post(server, call(), key=key)
    release.set()
    assert (await first)[0] == 200
    return second


async def raw(server: Server, head: str, data: bytes = b"") -> Reply:
    """Bytes that no HTTP client sends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n".encode() + data)
    async with asyncio.timeout(10):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        text = (await reader.readexactly(int(headers["content-length"]))).decode()
    writer.close()
    await writer.wait_closed()
    return int(status.split()[1]), headers, text


async def unfinished_body(server: Server, upstream: ScriptedUpstream) -> Reply:
    return await raw(
        server, "POST /v1/chat/completions HTTP/1.1", b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )


async def cut(seen: Seen) -> None:
    seen.reset()


async def silent(seen: Seen) -> None:
    await seen.gone()


PROVOKED: dict[str, Provoke] = {
    "invalid_json": http(
        "POST", "/v1/chat/completions", data=b'{"model": ', headers={"Content-Type": "application/json"}
    ),
    "missing_required_parameter": http("POST", "/v1/chat/completions", body={"model": "test"}),
    "invalid_type": body(temperature="hot"),
    "invalid_value": body(top_p=2),
    "context_length_exceeded": body(model="tiny", messages=[{"role": "user", "content": "word " * 30}]),
    "upstream_rejected": played(answered({"error": {"message": "Bad seed."}}, "400 Bad Request")),
    "bad_request": http("GET", "/v1/models/a%5Cb"),
    "missing_api_key": http("GET", "/v1/models", key=""),
    "invalid_api_key": http("GET", "/v1/models", key="sk-wrong"),
    "insufficient_balance": poor,
    "model_not_allowed": user("narrow", "--models", "demo"),
    "model_not_found": body(model="nothing-like-it"),
    "not_found": http("GET", "/v2/models"),
    "method_not_allowed": http("GET", "/v1/chat/completions"),
    "request_timeout": unfinished_body,
    "input_tokens_exceeded": user("brief", "--input-per-request", "1"),
    "request_too_large": body(user="x" * 70_000),
    "unsupported_media_type": http(
        "POST", "/v1/chat/completions", data=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}
    ),
    "daily_input_tokens_exceeded": user("day-in", "--daily-input", "1"),
    "daily_output_tokens_exceeded": user("day-out", "--daily-output", "1", max_tokens=50),
    "concurrent_requests_exceeded": two_at_once,
    "rate_limit_exceeded": user("minute", "--requests-per-minute", "1", requests=2),
    "upstream_rate_limited": played(answered({}, "429 Too Many Requests")),
    "upstream_unreachable": body(model="closed"),
    "upstream_disconnected": played(cut),
    "upstream_invalid_response": played(answered({"ok": True})),
    "upstream_auth": played(answered({"error": {"message": "Incorrect API key sk-provider"}}, "401 Unauthorized")),
    "upstream_timeout": played(silent, "slow"),
}


def test_no_refusal_is_forgotten() -> None:
    assert PROVOKED.keys() | ELSEWHERE.keys() == RULES.keys()
    assert not PROVOKED.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize("code", PROVOKED)
async def test_a_refusal(server: Server, upstream: ScriptedUpstream, code: str) -> None:
    status, headers, text = await PROVOKED[code](server, upstream)
    told = json.loads(text)
    rule = RULES[code]
    assert faults(told, "ErrorResponse") == []
    assert (told["error"]["code"], told["error"]["type"], status) == (code, rule.type, rule.status)
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == told["error"]["request_id"]
    assert headers.get("x-should-retry") == {None: None, True: "true", False: "false"}[rule.retry]
    if status == 429:
        assert int(headers["retry-after"]) >= 1
    assert not any(hidden in text for hidden in ("sk-provider", "127.0.0", "Traceback"))


@pytest.mark.parametrize("path", ["/v1/models/gone", "/v1/dashboard/billing/nothing", "/", "/v1/"])
async def test_a_route_that_is_not_there(server: Server, path: str) -> None:
    status, _, text = await request(server, "GET", path)
    assert (status, faults(json.loads(text), "ErrorResponse")) == (404, [])


async def test_two_framings_at_once_never_reach_the_application(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
