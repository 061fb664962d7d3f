"""Caps and balances over a real server: what is above them never reaches the upstream, whatever races it."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import time
from typing import Any

import pytest

from tests.support.rig import Reply, Rig, call, until
from tests.support.upstream import Seen, completion, delta, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = 10  # tokens of call()
IN_USD, OUT_USD = 0.40e-6, 1.60e-6


async def answer(seen: Seen) -> None:
    """Ten tokens in, all that was allowed out."""
    if seen.body["stream"]:
        await streamed(["x"], prompt=PROMPT, output=seen.body["max_tokens"])(seen)
    else:
        await seen.json(completion("x", PROMPT, seen.body["max_tokens"]))


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "input per request": ({"input_per_request": PROMPT - 1}, {}, 413, "input_tokens_exceeded"),
    "daily input": ({"daily_input": PROMPT - 1}, {}, 429, "daily_input_tokens_exceeded"),
    "daily output": ({"daily_output": 15}, {}, 429, "daily_output_tokens_exceeded"),
    "daily output, little asked for": (
        {"daily_output": 7},
        {"max_completion_tokens": 8},
        429,
        "daily_output_tokens_exceeded",
    ),
    "no balance": ({"unlimited": False}, {}, 402, "insufficient_balance"),
    "balance": ({"unlimited": False, "topup": "0.0000295"}, {"max_tokens": 16}, 402, "insufficient_balance"),
    "model of the account": ({"models": ["other/model:1"]}, {}, 403, "model_not_allowed"),
    "model of the key": ({"key_models": ["other/model:1"]}, {}, 403, "model_not_allowed"),
    "context window": (
        {},
        {"model": "small", "messages": [{"role": "user", "content": "a " * 64}]},
        400,
        "context_len",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", REFUSED)
async def test_above_a_cap_nothing_reaches_the_upstream(prepaid: Rig, name: str, stream: bool) -> None:
    caps, more, status, code = REFUSED[name]
    key = prepaid.user(**{"unlimited": True, **caps})
    before = (len(prepaid.seen), prepaid.upstream.connections, len(prepaid.holds()))
    reply = await prepaid.post(call(stream, **more), key)
    assert (reply.status, reply.error["code"][: len(code)]) == (status, code)
    assert reply.error["request_id"] == reply.headers["x-request-id"]
    assert ("retry-after" in reply.headers) == code.startswith("daily")
    assert reply.headers.get("x-should-retry") == ("false" if status == 402 or code.startswith("daily") else None)
    assert (len(prepaid.seen), prepaid.upstream.connections, len(prepaid.holds())) == before


async def test_requests_per_minute(prepaid: Rig) -> None:
    prepaid.upstream.script = answer
    key = prepaid.user(unlimited=True, requests_per_minute=3)
    before = len(prepaid.seen)
    replies = [await prepaid.post(call(max_tokens=1), key) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[4].error["code"] == "rate_limit_exceeded"
    assert 1 <= int(replies[4].headers["retry-after"]) <= 20
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies[:3]] == ["2", "1", "0"]
    assert replies[0].headers["x-ratelimit-limit-requests"] == "3"
    assert len(prepaid.seen) == before + 3


async def test_a_disabled_account_is_refused_until_it_is_enabled(prepaid: Rig) -> None:
    prepaid.upstream.script = answer
    key = prepaid.user(unlimited=True)
    before = len(prepaid.seen)
    prepaid.admin("user.disable", user=prepaid.last_user)
    refused = await prepaid.post(call(), key)
    prepaid.admin("user.enable", user=prepaid.last_user)
    served = await prepaid.post(call(), key)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert (served.status, len(prepaid.seen)) == (200, before + 1)


async def test_a_key_revoked_on_the_command_line_is_refused_at_once_and_its_stream_finishes(prepaid: Rig) -> None:
    go = asyncio.Event()

    async def held(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("first "))
        await go.wait()
        await seen.chunk(delta("last", finish="stop") + b"data: [DONE]\n\n")
        await seen.end()

    prepaid.upstream.script = held
    key = prepaid.user(unlimited=True)
    (row,) = prepaid.admin("key.list", user=prepaid.last_user)
    async with prepaid.ask(call(), key) as running:
        assert await running.content.readuntil(b"\n\n")
        await asyncio.to_thread(prepaid.server.cli, "key", "revoke", row["id"])
        revoked_at = time.monotonic()
        reached = len(prepaid.seen)
        refused = await prepaid.post(call(), key)
        assert time.monotonic() - revoked_at < 1
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert len(prepaid.seen) == reached
        go.set()
        assert (await running.text()).endswith("data: [DONE]\n\n")


async def test_a_key_revoked_now_ends_its_streams(prepaid: Rig) -> None:
    async def endless(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("first "))
        await seen.gone()

    prepaid.upstream.script = endless
    key = prepaid.user(unlimited=True)
    (row,) = prepaid.admin("key.list", user=prepaid.last_user)
    async with prepaid.ask(call(), key) as running:
        first = await running.content.readuntil(b"\n\n")
        assert prepaid.admin("key.revoke", id=row["id"], now=True)["streams_stopped"] == 1
        reply = Reply(200, {}, (first + await running.content.read()).decode())
    assert reply.content == "first "
    assert reply.error["code"] == "invalid_api_key"
    hold = (await prepaid.settled())[-1]
    assert (hold["s_output"], hold["usage_source"]) == (2, "partial")


CLAMPED: dict[str, tuple[dict[str, Any], dict[str, Any], int, bool]] = {
    "the day": ({"daily_output": 20}, {"max_tokens": 100}, 20, True),
    "the day, for two": ({"daily_output": 41}, {"max_tokens": 100, "n": 2}, 20, True),
    "the balance": ({"unlimited": False, "topup": "0.000052"}, {"max_tokens": 100}, 30, True),
    "the day, unasked": ({"daily_output": 33}, {}, 33, True),
    "the cap per request": ({"output_per_request": 25}, {"max_tokens": 100}, 25, False),
    "the cap per request, for two": ({"output_per_request": 25}, {"max_tokens": 100, "n": 2}, 12, False),
    "nothing": ({"daily_output": 200}, {"max_tokens": 100}, 100, False),
    "the smaller of two": ({}, {"max_tokens": 100, "max_completion_tokens": 30}, 30, False),
}


@pytest.mark.parametrize("name", CLAMPED)
async def test_a_limit_is_lowered_to_what_is_left_and_said(prepaid: Rig, name: str) -> None:
    caps, more, limit, told = CLAMPED[name]
    prepaid.upstream.script = answer
    key = prepaid.user(**{"unlimited": True, **caps})
    reply = await prepaid.post(call(False, **more), key)
    sent = prepaid.seen[-1].body
    assert reply.status == 200
    assert sent["max_tokens"] == limit
    assert "max_completion_tokens" not in sent
    assert reply.headers.get("x-streamrouter-max-tokens") == (str(limit) if told else None)
    assert prepaid.hold(reply.headers["x-request-id"])["r_output"] == limit * more.get("n", 1)


async def test_the_headers_say_what_is_left_today(prepaid: Rig) -> None:
    prepaid.upstream.script = answer
    key = prepaid.user(unlimited=True, daily_input=100, daily_output=1000)
    first, second = [(await prepaid.post(call(max_tokens=100), key)).headers for _ in range(2)]
    for headers, left_in, left_out in ((first, 90, 900), (second, 80, 800)):
        assert headers["x-ratelimit-limit-input-tokens"] == "100"
        assert headers["x-ratelimit-remaining-input-tokens"] == str(left_in)
        assert headers["x-ratelimit-limit-output-tokens"] == "1000"
        assert headers["x-ratelimit-remaining-output-tokens"] == str(left_out)
        assert 0 < int(headers["x-ratelimit-reset-output-tokens"].rstrip("s")) <= 86400
        assert "x-ratelimit-limit-requests" not in headers


RACES: dict[str, tuple[dict[str, Any], int, str]] = {
    "daily output": ({"daily_output": 12 * 100}, 12, "daily_output_tokens_exceeded"),
    "daily input": ({"daily_input": 7 * PROMPT}, 7, "daily_input_tokens_exceeded"),
    "balance": (
        {"unlimited": False, "topup": f"{9 * (PROMPT * IN_USD + 100 * OUT_USD):.9f}"},
        9,
        "insufficient_balance",
    ),
    "requests per minute": ({"requests_per_minute": 11}, 11, "rate_limit_exceeded"),
    "concurrency": ({"concurrency": 4}, 4, "concurrent_requests_exceeded"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", RACES)
async def test_sixty_at_once_get_exactly_what_fits(prepaid: Rig, name: str, stream: bool) -> None:
    caps, fits, code = RACES[name]
    go = asyncio.Event()
    now, most = 0, 0

    async def held(seen: Seen) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go.wait()
        now -= 1
        await answer(seen)

    prepaid.upstream.script = held
    key = prepaid.user(**{"unlimited": True, **caps})
    before = len(prepaid.seen)
    tasks = [asyncio.create_task(prepaid.post(call(stream, max_tokens=100), key)) for _ in range(60)]
    await until(lambda: sum(task.done() for task in tasks) == 60 - fits, "the others are refused")
    await prepaid.reached(before + fits)
    go.set()
    replies = await asyncio.gather(*tasks)
    assert sorted(reply.status for reply in replies).count(200) == fits
    assert {reply.error["code"] for reply in replies if reply.status != 200} == {code}
    assert (len(prepaid.seen), most) == (before + fits, fits)
    used = prepaid.usage(prepaid.last_user)
    assert (used["input"]["used"], used["output"]["used"], used["in_flight"]) == (fits * PROMPT, fits * 100, 0)
    assert float(used["reserved_usd"]) == 0


async def test_refusals_come_in_their_order(prepaid: Rig) -> None:
    """One request with everything wrong with it; one fault after another is mended, and the next is told."""
    go = asyncio.Event()

    async def held(seen: Seen) -> None:
        await go.wait()
        await streamed(["x"], prompt=PROMPT, output=16)(seen)

    prepaid.upstream.script = held
    key = prepaid.user(topup="0.0000296", concurrency=1, requests_per_minute=1, models=["test", "small"])
    name = prepaid.last_user
    running = asyncio.create_task(prepaid.post(call(max_tokens=16), key))
    await until(lambda: prepaid.usage(name)["in_flight"] == 1, "the running request")
    prepaid.admin("user.set", user=name, input_per_request=1, daily_input=1, daily_output=1, models=["test"])
    bad: dict[str, Any] = {"model": "nope", "max_tokens": "16", "messages": [{"role": "user", "content": "a " * 64}]}
    path, headers, body = "/v1/chat/completionz", {"Authorization": "Bearer sk-wrong"}, b"{"
    found = []

    async def told(**mended: Any) -> None:
        nonlocal path, headers, body
        path, body = mended.get("path", path), mended.get("body", body)
        headers = {**headers, **mended.get("headers", {})}
        async with prepaid.client.post(prepaid.server.root + path, data=io.BytesIO(body), headers=headers) as response:
            found.append((response.status, (await response.json())["error"]["code"]))

    def body_of(**mended: Any) -> bytes:
        bad.update(mended)
        return json.dumps(bad).encode()

    await told()
    await told(path="/v1/chat/completions")
    await told(headers={"Authorization": f"Bearer {key}", "Content-Type": "text/plain", "Content-Encoding": "gzip"})
    await told(headers={"Content-Type": "application/json"})
    await told(headers={"Content-Encoding": "identity"}, body=b" " * (8 * 1024 * 1024 + 1))
    await told(body=b"{")
    await told(body=gzip.compress(b"{}"))
    await told(body=body_of())
    await told(body=body_of(max_tokens=16))
    await told(body=body_of(model="small"))
    prepaid.admin("user.set", user=name, models=None)
    await told()
    await told(body=body_of(model="test"))
    for cap in ("input_per_request", "requests_per_minute"):
        prepaid.admin("user.set", user=name, **{cap: None})
        await told()
    go.set()
    assert (await running).status == 200
    for cap in ("daily_input", "daily_output"):
        await told()
        prepaid.admin("user.set", user=name, **{cap: None})
    await told()
    assert found == ORDER


ORDER = [
    (404, "not_found"),
    (401, "invalid_api_key"),
    (415, "unsupported_media_type"),
    (415, "unsupported_media_type"),
    (413, "request_too_large"),
    (400, "invalid_json"),
    (400, "invalid_json"),
    (400, "invalid_type"),
    (404, "model_not_found"),
    (403, "model_not_allowed"),
    (400, "context_length_exceeded"),
    (413, "input_tokens_exceeded"),
    (429, "rate_limit_exceeded"),
    (429, "concurrent_requests_exceeded"),
    (429, "daily_input_tokens_exceeded"),
    (429, "daily_output_tokens_exceeded"),
    (402, "insufficient_balance"),
]
