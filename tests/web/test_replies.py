"""Refusals, JSON and streams as HTTP: the mapping of every error code, and what counts as started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Receive, Scope, Send

from streamrouter.errors import RULES, Refusal
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import Sink
from streamrouter.web.replies import HttpReply, send_body, send_json, send_refusal
from tests.support.asgi import Answer, ask

CORS = [(b"access-control-allow-origin", b"*")]


async def sent(reply: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Answer:
    return await ask(reply)


async def refused(refusal: Refusal, balance_status: int = 402) -> Answer:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_refusal(send, refusal, "req_1", balance_status=balance_status, headers=CORS)

    return await ask(app)


@pytest.mark.parametrize("code", RULES)
async def test_every_code_has_its_status_type_and_hint(code: str) -> None:
    rule = RULES[code]
    answer = await refused(Refusal(code, "What happened, and what to do.", param="messages"))
    assert answer.status == rule.status
    assert answer.json == {
        "error": {
            "message": "What happened, and what to do.",
            "type": rule.type,
            "param": "messages",
            "code": code,
            "request_id": "req_1",
        }
    }
    headers = answer.headers
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"] == "req_1"
    assert headers["content-length"] == str(len(answer.body))
    assert headers["access-control-allow-origin"] == "*"
    assert headers.get("x-should-retry") == {None: None, False: "false", True: "true"}[rule.retry]
    assert ("www-authenticate" in headers) is (rule.status == 401)
    assert "retry-after" not in headers


@pytest.mark.parametrize(("wait", "header"), [(1, "1"), (0, "1"), (60, "60")])
async def test_how_long_to_wait(wait: int, header: str) -> None:
    answer = await refused(Refusal("rate_limit_exceeded", "Later.", retry_after_s=wait))
    assert answer.headers["retry-after"] == header


async def test_money_may_be_a_429() -> None:
    refusal = Refusal("insufficient_balance", "Top up.")
    assert ((await refused(refusal)).status, (await refused(refusal, 429)).status) == (402, 429)
    assert (await refused(Refusal("not_found", "No."), 429)).status == 404


async def test_a_message_of_any_text_stays_json() -> None:
    text = 'quotes " line\nbreaks \u2028 and žluťoučký \U0001f600'
    assert (await refused(Refusal("bad_request", text))).json["error"]["message"] == text


async def test_json_and_empty_bodies() -> None:
    async def document(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, {"a": "ž"}, CORS, status=201)

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await send_body(send, 204, b"", [])

    answer = await sent(document)
    assert (answer.status, answer.json) == (201, {"a": "ž"})
    assert answer.headers["content-length"] == str(len(answer.body))
    assert (await sent(nothing)).headers == {}


async def test_a_whole_reply_is_started_and_carries_what_the_web_layer_adds() -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = HttpReply(scope, receive, send, CORS)
        seen.append(reply.started)
        await reply.whole(b"{}", [(b"x-request-id", b"req_1")])
        seen.append(reply.started)

    answer = await sent(app)
    assert seen == [False, True]
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["x-request-id"] == "req_1"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_stream_is_started_with_its_status_and_not_before() -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = HttpReply(scope, receive, send, CORS)

        async def run(sink: Sink) -> None:
            seen.append(reply.started)
            response.start(sink, [])
            seen.append(reply.started)
            sink.end(b"x")

        response = RelayResponse(run)
        await reply.stream(response)

    answer = await sent(app)
    assert seen == [False, True]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.body == b"x"
