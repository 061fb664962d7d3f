"""What leaves as HTTP: JSON, refusals, streams. A reply is an ASGI application."""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

from streamrouter.errors import Refusal
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.sink import ANSWER
from streamrouter.wire.refusals import OPENAI, Headers, Style, error_body, refusal_headers, refusal_status

_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
INTERNAL_ERROR = Refusal("internal_error", "Something went wrong inside the proxy. Keep the request id.")


async def send_body(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """One whole response. The start and the body leave in the server's own order, nothing is buffered here."""
    if status != 204:  # which may not have one (RFC 9110 section 8.6)
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_json(send: Send, value: object, headers: Headers | None = None, status: int = 200) -> None:
    """A JSON document of ours. Integers above 2^53 must be strings already: JavaScript would round them."""
    await send_body(send, status, orjson.dumps(value), [*_JSON, *(headers or [])])


async def send_refusal(
    send: Send,
    refusal: Refusal,
    request_id: str,
    *,
    balance_status: int = 402,
    headers: Headers | None = None,
    style: Style = OPENAI,
) -> None:
    """A refusal as an HTTP error in the surface's style (OpenAI's body)."""
    status = refusal_status(refusal, balance_status, style)
    all_headers = [*refusal_headers(refusal, request_id, style), *(headers or [])]
    await send_body(send, status, error_body(refusal, request_id, style), all_headers)


class HttpReply:
    """The gateway's ``Reply`` over one ASGI request. ``started``: the status is out, an error can no longer be one."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, extra: Headers) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._extra = extra
        self._whole = False
        self._response: RelayResponse | None = None

    @property
    def started(self) -> bool:
        return self._whole or (self._response is not None and self._response.started)

    async def whole(self, body: bytes, headers: Headers) -> None:
        self._whole = True
        answer = self._scope.get("extensions", {}).get(ANSWER)
        if answer is not None:  # our own server's shorter way
            await answer(200, [*_JSON, *headers, *self._extra], body)
        else:
            await send_body(self._send, 200, body, [*_JSON, *headers, *self._extra])

    async def stream(self, response: RelayResponse) -> None:
        self._response = response
        response.raw_headers.extend(self._extra)
        await response(self._scope, self._receive, self._send)
