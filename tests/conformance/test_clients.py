"""What real clients need from the wire, byte by byte where no SDK shows it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import aiohttp
import pytest

from tests.conformance.background import until
from tests.conformance.scripts import answered, broken_off, played
from tests.conformance.wire import call, content, events, post, request
from tests.support.server import Server
from tests.support.upstream import DONE, ScriptedUpstream, Seen, completion, delta, event, streamed, usage

ORIGIN = "https://chat.example.org"


def line(value: Any) -> bytes:
    """One event without the usual identity."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(text: str, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice], **more}


async def test_only_data_lines_leave_whatever_comes(server: Server, upstream: ScriptedUpstream) -> None:
    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(b"\xef\xbb\xbf: welcome\r\nretry: 3000\r\n\r\n")
        await seen.chunk(b"event: message\r\nid: 7\r\ndata: " + delta("Hel", role="assistant")[6:-2] + b"\r\n\r\n")
        await seen.chunk(b": OPENROUTER PROCESSING\n\ndata:\n\ndata: \n\n")
        await seen.chunk(b"data:" + delta("lo", finish="stop")[6:-2].replace(b',"choices"', b',\ndata: "choices"'))
        await seen.chunk(b"\r\rdata: [DO")
        await seen.chunk(b"NE]\n\n: bye\n\n")
        await seen.end()

    upstream.script = script
    _, headers, text = await post(server, call())
    got = events(text)  # fails on anything but "data: …", LF, LF
    assert (content(got), got[-1], len(got)) == ("Hello", "[DONE]", 3)
    assert headers["content-type"].split(";")[0] == "text/event-stream"
    assert "content-encoding" not in headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


async def test_usage_is_withheld_wherever_it_comes(server: Server, upstream: ScriptedUpstream) -> None:
    """Cumulative, beside content, null, in a chunk without choices: nobody asked."""
    upstream.script = played(
        line(chunk("Hel", usage=None)),
        line(chunk("lo", usage=usage(9, 1))),
        line({**chunk("!"), "usage": usage(9, 2)}),
        line({"usage": usage(9, 2), **chunk("?")}),
        event({"choices": [], "usage": usage(9, 3)}),
        event({"usage": usage(9, 4)}),
        delta(None, finish="stop"),
        event({"choices": [], "usage": usage(9, 4)}),
        DONE,
    )
    before = server.usage()["output"]["used"]
    _, _, text = await post(server, call())
    got = events(text)
    assert content(got) == "Hello!?"
    assert not any("usage" in each for each in got[:-1])
    assert all(each["choices"] for each in got[:-1])
    assert server.usage()["output"]["used"] - before == 4  # the last one, not the sum


async def test_cumulative_usage_is_told_once(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = played(
        line(chunk("Hel", usage=usage(9, 1))),
        line(chunk("lo", usage=usage(9, 2))),
        delta(None, finish="stop"),
        DONE,
    )
    _, _, text = await post(server, call(stream_options={"include_usage": True}))
    got = events(text)
    assert [each["usage"]["completion_tokens"] for each in got[:-1] if each.get("usage")] == [2]
    assert got[-2]["choices"] == []


async def test_an_error_that_is_null_is_dropped(server: Server, upstream: ScriptedUpstream) -> None:
    head = chunk("Hel")
    upstream.script = played(
        line(head),
        line({**chunk("l"), "error": None}),
        line({"error": None, **chunk("o")}),
        line({**chunk("!"), "error": None, "usage": None}),
        delta(None, finish="stop"),
        DONE,
    )
    _, _, text = await post(server, call())
    got = events(text)
    assert content(got) == "Hello!"
    assert not any("error" in each for each in got[:-1])
    upstream.script = answered(completion("Hi.", error=None))
    _, _, text = await post(server, call(stream=False))
    assert "error" not in json.loads(text)


async def test_an_upstream_s_request_id_is_replaced_not_doubled(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = played(
        line(chunk("Hel", request_id="theirs")),
        line(chunk("lo", request_id="theirs")),
        delta(None, finish="stop"),
        DONE,
    )
    _, headers, text = await post(server, call())
    assert "theirs" not in text
    assert [each.get("request_id") for each in events(text)[:-1]] == [headers["x-request-id"], None, None]


async def test_no_done_after_an_error(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = broken_off(delta("Hel", role="assistant"))
    _, _, text = await post(server, call())
    assert "[DONE]" not in text
    got = events(text)
    assert list(got[-1]) == ["error"]
    assert got[-1]["error"].keys() == {"message", "type", "param", "code", "request_id"}
    assert not any(each.get("choices", [{}])[0].get("finish_reason") for each in got)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_byte_is_a_status(
    server: Server, upstream: ScriptedUpstream, stream: bool
) -> None:
    cases = (
        (400, "invalid_value", call(stream=stream, top_p=3)),
        (404, "model_not_found", call("nothing", stream=stream)),
        (502, "upstream_invalid_response", call(stream=stream)),
    )
    upstream.script = answered({"error": {"message": "boom"}}, "500 Internal Server Error")
    for status, code, body in cases:
        got, headers, text = await post(server, body)
        assert (got, headers["content-type"], json.loads(text)["error"]["code"]) == (status, "application/json", code)


async def test_the_body_ends_with_done_whatever_the_upstream_does(server: Server, upstream: ScriptedUpstream) -> None:
    release, gone = threading.Event(), threading.Event()

    async def script(seen: Seen) -> None:
        await seen.head_sse()
        await seen.chunk(delta("Hi", role="assistant", finish="stop"))
        await seen.chunk(DONE)
        closed, told = asyncio.create_task(seen.gone(10)), asyncio.create_task(until(release))
        await asyncio.wait([closed, told], return_when=asyncio.FIRST_COMPLETED)
        if closed.done():
            gone.set()
        closed.cancel()
        await told

    upstream.script = script
    _, _, text = await post(server, call())
    still_open = not gone.is_set()
    release.set()
    assert events(text)[-1] == "[DONE]"
    assert still_open  # the upstream had not closed anything when the client's body was over


async def test_a_client_that_drops_the_socket_at_done_has_succeeded(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = streamed(["Hello", " there"], prompt=9, output=2)
    before = server.usage()["output"]["used"]
    async with aiohttp.ClientSession() as session:
        response = await session.post(
            server.url + "/chat/completions", json=call(), headers={"Authorization": f"Bearer {server.key}"}
        )
        async for each in response.content:
            if each == b"data: [DONE]\n":
                break
        response.close()
    assert server.quiet()["output"]["used"] - before == 2
    assert server.requests()[-1]["end"] == "finished"


async def test_headers_and_a_keep_alive_come_before_the_upstream_says_anything(
    restless: Server, upstream: ScriptedUpstream
) -> None:
    release = threading.Event()

    async def script(seen: Seen) -> None:
        await until(release)
        await streamed(["Hi"])(seen)

    upstream.script = script
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        session.post(
            restless.url + "/chat/completions", json=call(), headers={"Authorization": f"Bearer {restless.key}"}
        ) as response,
    ):
        first = await response.content.readuntil(b"\n\n")
        assert not release.is_set()
        release.set()
        got = events((first + await response.content.read()).decode())
    ours = response.headers["x-request-id"]
    assert got[0]["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
    assert (got[0]["id"], got[0]["request_id"], got[0]["model"]) == (f"chatcmpl-{ours}", ours, "test")
    assert (content(got), got[-1]) == ("Hi", "[DONE]")


async def test_models_are_answered_from_memory(server: Server, upstream: ScriptedUpstream) -> None:
    before = upstream.connections
    status, _, text = await request(server, "GET", "/v1/models")
    listed = {model["id"]: model for model in json.loads(text)["data"]}
    assert (status, upstream.connections, upstream.seen) == (200, before, [])
    test = listed["test"]
    assert (test["context_length"], test["max_output_tokens"]) == (128_000, 16_384)
    assert test["pricing"] == {"input": "0.40", "output": "1.60", "cache_read": "0.10"}


async def test_a_list_shows_what_the_key_may_use(server: Server) -> None:
    key = server.user("few", "--models", "demo,other/model:1")
    _, _, text = await request(server, "GET", "/v1/models", key=key)
    assert [model["id"] for model in json.loads(text)["data"]] == ["other/model:1", "demo"]
    status, _, text = await request(server, "GET", "/v1/models/test", key=key)
    assert (status, json.loads(text)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key", "X-API-Key"])
async def test_the_key_in_each_header(server: Server, upstream: ScriptedUpstream, name: str) -> None:
    upstream.script = answered(completion("Hi."))
    value = f"Bearer {server.key}" if name == "authorization" else server.key
    for method, path, body in (("POST", "/v1/chat/completions", call(stream=False)), ("GET", "/v1/models", None)):
        status, _, _ = await request(server, method, path, key="", headers={name: value}, body=body)
        assert status == 200
    assert server.key not in upstream.seen[0].head


@pytest.mark.parametrize("path", ["models", "models/other/model:1", "usage", "dashboard/billing/subscription"])
async def test_routes_without_v1(server: Server, path: str) -> None:
    with_v1 = await request(server, "GET", f"/v1/{path}")
    without = await request(server, "GET", f"/{path}")
    assert (without[0], without[2]) == (200, with_v1[2])


async def test_completions_without_v1(server: Server, upstream: ScriptedUpstream) -> None:
    upstream.script = streamed(["Hi"])
    status, _, text = await post(server, call(), path="")
    assert (status, content(events(text))) == (200, "Hi")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_v1_twice_says_which_base_url_to_use(server: Server, method: str) -> None:
    path = "/v1/v1/models" if method == "GET" else "/v1/v1/chat/completions"
    status, _, text = await request(server, method, path, body=None if method == "GET" else call())
    error = json.loads(text)["error"]
    assert (status, error["code"]) == (404, "not_found")
    assert "base URL" in error["message"]


async def test_the_balance_for_nextchat(server: Server, upstream: ScriptedUpstream) -> None:
    server.cli("user", "create", "chatter")
    key = server.cli("key", "create", "chatter", "--surface", "prepaid")["key"]
    server.cli("topup", "chatter", "12.5")
    upstream.script = answered(completion("Hi.", 10, 100))
    assert (await post(server, call(stream=False, max_tokens=100), key=key, path="/prepaid/v1"))[0] == 200
    _, _, text = await request(server, "GET", "/prepaid/v1/dashboard/billing/subscription", key=key)
    assert json.loads(text)["hard_limit_usd"] == 12.5
    query = "?start_date=2026-01-01&end_date=2026-01-31"
    _, _, text = await request(server, "GET", "/prepaid/dashboard/billing/usage" + query, key=key)
    assert json.loads(text)["total_usage"] == pytest.approx(0.0164)  # cents: 10 x 0.40 + 100 x 1.60 per million USD
    status, _, _ = await request(server, "GET", "/prepaid/dashboard/billing/usage", key="")
    assert status == 401


async def test_a_preflight_mirrors_what_is_asked_for(server: Server) -> None:
    asked = "authorization, content-type, x-stainless-os, x-stainless-retry-count"
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
        "Access-Control-Request-Private-Network": "true",
    }
    status, got, text = await request(server, "OPTIONS", "/v1/chat/completions", key="", headers=headers)
    assert (status, text) == (204, "")
    assert got["access-control-allow-origin"] == ORIGIN
    assert got["access-control-allow-headers"] == asked
    assert "POST" in got["access-control-allow-methods"]
    assert got["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in got


async def test_a_stranger_s_preflight_is_granted_nothing(server: Server) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    _, got, _ = await request(server, "OPTIONS", "/v1/chat/completions", key="", headers=headers)
    assert not any(name.startswith("access-control-") for name in got)


async def test_a_browser_may_read_every_kind_of_answer(server: Server, upstream: ScriptedUpstream) -> None:
    origin = {"Origin": ORIGIN}
    cases = (
        (200, "POST", "/v1/chat/completions", call(), streamed(["Hi"])),
        (200, "POST", "/v1/chat/completions", call(stream=False), answered(completion("Hi."))),
        (400, "POST", "/v1/chat/completions", call(top_p=3), None),
        (200, "GET", "/v1/models", None, None),
        (404, "GET", "/v1/nothing", None, None),
    )
    for status, method, path, body, script in cases:
        upstream.script = script
        got, headers, _ = await request(server, method, path, headers=origin, body=body)
        assert (got, headers["access-control-allow-origin"]) == (status, ORIGIN)
        exposed = headers["access-control-expose-headers"]
        for name in ("x-request-id", "retry-after", "x-ratelimit-remaining-requests", "x-streamrouter-upstream"):
            assert name in exposed
        assert headers["vary"] == "Origin"
