"""What an upstream may answer instead of a stream, by its content type and body."""

from __future__ import annotations

import json

import pytest

from streamrouter.errors import Upstreamed
from streamrouter.relay.unstreamed import unstreamed
from tests.support.asgi import Played
from tests.support.upstream import completion

WHOLE = json.dumps(completion("Hi.")).encode()


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8", "text/plain", ""])
async def test_what_is_not_json_or_html_is_taken_for_a_stream(kind: str) -> None:
    assert await unstreamed(Played(WHOLE, kind), 10_000) is None


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
async def test_a_whole_answer_becomes_chunks(kind: str) -> None:
    payloads = await unstreamed(Played(WHOLE, kind), 10_000)
    assert payloads is not None
    chunks = [json.loads(payload) for payload in payloads]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["content"] == "Hi."


@pytest.mark.parametrize(
    ("kind", "encoding", "body", "code"),
    [
        ("text/html", "identity", b"<html>", "upstream_invalid_response"),
        ("application/json", "identity", b"{", "upstream_invalid_response"),
        ("application/json", "identity", b"[]", "upstream_invalid_response"),
        ("application/json", "identity", WHOLE + b" " * 20_000, "upstream_invalid_response"),
        ("application/json", "identity", b'{"error":{"type":"rate_limit_error"}}', "upstream_rate_limited"),
        ("application/json", "identity", b'{"error":{"type":"invalid_request_error"}}', "upstream_rejected"),
        ("text/event-stream", "gzip", b"", "upstream_invalid_response"),
        ("text/event-stream", "BR", b"", "upstream_invalid_response"),
    ],
)
async def test_the_rest_fails_the_attempt(kind: str, encoding: str, body: bytes, code: str) -> None:
    exchange = Played(body, kind)
    exchange.headers = {**exchange.headers, "content-encoding": encoding}
    with pytest.raises(Upstreamed) as raised:
        await unstreamed(exchange, 10_000)
    assert raised.value.code == code
