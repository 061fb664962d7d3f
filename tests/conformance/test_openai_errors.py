"""The official OpenAI Python SDK, sync and async: every class of error, and which of them it tries again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.conformance.scripts import answered, broken_off, held, played
from tests.conformance.sdk import MESSAGES, Sdk
from tests.conformance.wire import refusals
from tests.support.server import Server
from tests.support.upstream import ScriptedUpstream, Seen, completion, delta, event, streamed

Connect = Callable[..., Sdk]


class Refused:
    """What the SDK made of a refusal, and how often the server refused."""

    def __init__(self, error: openai.APIStatusError, times: int) -> None:
        self.error = error
        self.times = times
        assert error.request_id is not None
        assert error.request_id.startswith("req_")
        assert isinstance(error.body, dict)
        assert error.body["request_id"] == error.request_id
        self.seen = (type(error), error.status_code, error.type, error.code)


async def refused(server: Server, code: str, sdk: Sdk, **members: Any) -> Refused:
    """The refusal of a call."""
    before = refusals(server, code)
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.create(**members)
    return Refused(caught.value, refusals(server, code) - before)


@pytest.mark.parametrize("stream", [False, True])
async def test_401(server: Server, connect: Connect, stream: bool) -> None:
    got = await refused(server, "invalid_api_key", connect(server, key="sk-wrong", max_retries=2), stream=stream)
    assert got.seen == (openai.AuthenticationError, 401, "authentication_error", "invalid_api_key")
    assert got.times == 1


async def test_401_for_a_revoked_key(server: Server, connect: Connect, request: pytest.FixtureRequest) -> None:
    name = f"revoked-{request.node.callspec.id}"
    server.cli("user", "create", name)
    made = server.cli("key", "create", name)
    server.cli("key", "revoke", made["id"])
    got = await refused(server, "invalid_api_key", connect(server, key=made["key"]))
    assert got.seen[0] is openai.AuthenticationError
    assert "revoked" in got.error.message


@pytest.mark.parametrize(("surface", "status"), [("prepaid", 402), ("prepaid429", 429)])
async def test_no_balance_is_said_once_and_not_tried_again(
    server: Server, upstream: ScriptedUpstream, connect: Connect, surface: str, status: int, request: Any
) -> None:
    name = f"poor-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--surface", surface)["key"]
    sdk = connect(server, key=key, path=f"/{surface}/v1", max_retries=2)
    got = await refused(server, "insufficient_balance", sdk, max_tokens=4000)
    kind = openai.RateLimitError if status == 429 else openai.APIStatusError
    assert got.seen == (kind, status, "insufficient_quota", "insufficient_balance")
    assert got.times == 1
    assert got.error.response.headers["x-should-retry"] == "false"
    for told in (name, key[-4:], "$0", "test", "max_tokens 4000", f"streamrouter topup {name}"):
        assert told in got.error.message  # docs/clients.md 13: what happened, the numbers, what to do
    assert upstream.seen == []
    assert server.usage(name)["in_flight"] == 0


async def test_403(server: Server, connect: Connect, request: pytest.FixtureRequest) -> None:
    key = server.user(f"narrow-{request.node.callspec.id}", "--models", "other/model:1")
    got = await refused(server, "model_not_allowed", connect(server, key=key))
    assert got.seen == (openai.PermissionDeniedError, 403, "permission_error", "model_not_allowed")
    assert got.error.param == "model"
    assert "other/model:1" in got.error.message


async def test_404(server: Server, connect: Connect) -> None:
    sdk = connect(server)
    got = await refused(server, "model_not_found", sdk, model="tesst")
    assert got.seen == (openai.NotFoundError, 404, "invalid_request_error", "model_not_found")
    assert "'test'" in got.error.message
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.model("tesst")
    assert caught.value.code == "model_not_found"


async def test_a_base_url_with_v1_twice_is_explained(server: Server, connect: Connect) -> None:
    with pytest.raises(openai.NotFoundError, match="base URL"):
        await connect(server, path="/v1/v1").create()


async def test_413(
    server: Server, upstream: ScriptedUpstream, connect: Connect, request: pytest.FixtureRequest
) -> None:
    key = server.user(f"short-{request.node.callspec.id}", "--input-per-request", "20")
    sdk = connect(server, key=key, max_retries=2)
    long = [{"role": "user", "content": "word " * 50}]
    got = await refused(server, "input_tokens_exceeded", sdk, messages=long)
    assert (got.seen[1:], got.times) == ((413, "invalid_request_error", "input_tokens_exceeded"), 1)
    huge = [{"role": "user", "content": "x" * 70_000}]
    got = await refused(server, "request_too_large", sdk, messages=huge)
    assert (got.seen[1:], got.times) == ((413, "invalid_request_error", "request_too_large"), 1)
    assert upstream.seen == []


@pytest.mark.parametrize("side", ["input", "output"])
async def test_429_for_the_day_is_not_tried_again(
    server: Server, upstream: ScriptedUpstream, connect: Connect, side: str, request: Any
) -> None:
    key = server.user(f"day-{request.node.callspec.id}", f"--daily-{side}", "1")
    code = f"daily_{side}_tokens_exceeded"
    got = await refused(server, code, connect(server, key=key, max_retries=2), max_tokens=50)
    assert got.seen == (openai.RateLimitError, 429, "insufficient_quota", code)
    assert got.times == 1
    assert got.error.response.headers["x-should-retry"] == "false"
    assert 1 <= int(got.error.response.headers["retry-after"]) <= 86_400
    assert upstream.seen == []


async def test_429_for_the_minute(
    server: Server, upstream: ScriptedUpstream, connect: Connect, request: pytest.FixtureRequest
) -> None:
    upstream.script = answered(completion("Hi."))
    sdk = connect(server, key=server.user(f"slow-{request.node.callspec.id}", "--requests-per-minute", "1"))
    await sdk.create()
    got = await refused(server, "rate_limit_exceeded", sdk)
    assert got.seen == (openai.RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(got.error.response.headers["retry-after"]) <= 60
    assert "x-should-retry" not in got.error.response.headers


async def test_429_for_concurrency_is_tried_again_and_succeeds(
    server: Server, upstream: ScriptedUpstream, connect: Connect, request: pytest.FixtureRequest
) -> None:
    name = f"one-{request.node.callspec.id}"
    server.cli("user", "create", name)
    key = server.cli("key", "create", name, "--concurrency", "1")["key"]
    release = threading.Event()
    upstream.queue.append(held(release))
    upstream.script = streamed(["Second."])
    holding = Sdk("async", server, key=key)
    first = await holding.client.chat.completions.create(model="test", messages=MESSAGES, stream=True)
    chunks = [await anext(first)]
    got = await refused(server, "concurrent_requests_exceeded", connect(server, key=key))
    assert got.seen == (openai.RateLimitError, 429, "rate_limit_error", "concurrent_requests_exceeded")
    assert (got.error.response.headers["retry-after"], len(upstream.seen)) == ("1", 1)
    before = refusals(server, "concurrent_requests_exceeded")

    def free_one() -> None:
        while refusals(server, "concurrent_requests_exceeded") == before:
            release.wait(0.02)
        release.set()

    freeing = threading.Thread(target=free_one)
    freeing.start()
    again = await connect(server, key=key, max_retries=2).create(stream=True)
    await asyncio.to_thread(freeing.join)
    chunks += [chunk async for chunk in first]
    await holding.close()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in again) == "Second."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    assert refusals(server, "concurrent_requests_exceeded") == before + 1


async def test_400(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    sdk = connect(server, max_retries=2)
    got = await refused(server, "invalid_value", sdk, temperature=9)
    assert got.seen == (openai.BadRequestError, 400, "invalid_request_error", "invalid_value")
    assert got.error.param == "temperature"
    got = await refused(server, "missing_required_parameter", sdk, messages=[{"role": "user"}])
    assert got.error.param == "messages[0].content"
    upstream.script = answered({"error": {"message": "seed is odd", "param": "seed"}}, "400 Bad Request")
    got = await refused(server, "upstream_rejected", sdk)
    assert (got.seen[0], got.error.param, got.times) == (openai.BadRequestError, "seed", 1)
    assert "seed is odd" in got.error.message


@pytest.mark.parametrize("stream", [False, True])
async def test_502(server: Server, upstream: ScriptedUpstream, connect: Connect, stream: bool) -> None:
    upstream.script = answered({"nothing": "usable"})
    got = await refused(server, "upstream_invalid_response", connect(server), stream=stream)
    assert got.seen == (openai.InternalServerError, 502, "api_error", "upstream_invalid_response")
    assert (got.times, len(upstream.seen)) == (1, 1)


async def test_502_is_tried_again_and_succeeds(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.queue.append(answered({"error": {"message": "secret host 10.1.2.3"}}, "500 Internal Server Error"))
    upstream.script = answered(completion("Hi."))
    answer = await connect(server, max_retries=1).create()
    assert (answer.choices[0].message.content, len(upstream.seen)) == ("Hi.", 2)


async def test_504_and_an_upstream_429(server: Server, upstream: ScriptedUpstream, connect: Connect) -> None:
    async def silent(seen: Seen) -> None:
        await seen.gone()

    upstream.script = silent
    got = await refused(server, "upstream_timeout", connect(server), model="slow")
    assert got.seen == (openai.InternalServerError, 504, "timeout", "upstream_timeout")
    upstream.script = answered({"error": {"message": "slow down"}}, "429 Too Many Requests", "Retry-After: 7\r\n")
    got = await refused(server, "upstream_rate_limited", connect(server))
    assert got.seen == (openai.RateLimitError, 429, "rate_limit_error", "upstream_rate_limited")
    assert got.error.response.headers["retry-after"] == "7"


async def test_an_error_in_the_middle_of_a_stream_is_raised(
    server: Server, upstream: ScriptedUpstream, connect: Connect
) -> None:
    upstream.script = broken_off(delta("Hel", role="assistant"))
    with pytest.raises(openai.APIError, match="in the middle") as caught:
        await connect(server, max_retries=2).create(stream=True)
    assert caught.value.code == "upstream_disconnected"
    assert len(upstream.seen) == 1  # nothing is tried again once a part was delivered
    upstream.script = played(delta("Hel", role="assistant"), event({"error": {"message": "boom", "code": 500}}))
    with pytest.raises(openai.APIError) as caught:
        await connect(server).helper()
    assert caught.value.type == "api_error"
