"""Refusals as bytes: the one place where they get their status, headers and body (or their event inside a stream)."""

from __future__ import annotations

import msgspec

from streamrouter.errors import Refusal

Headers = list[tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode


def error_body(refusal: Refusal, request_id: str) -> bytes:
    """OpenAI's error object, with our request id in it."""
    error = {
        "message": refusal.message,
        "type": refusal.rule.type,
        "param": refusal.param,
        "code": refusal.code,
        "request_id": request_id,
    }
    return _encode({"error": error})


def error_event(refusal: Refusal, request_id: str) -> bytes:
    """The event that ends a stream early: an error and nothing else, no ``choices``, no ``[DONE]`` after it."""
    return b"data: %b\n\n" % error_body(refusal, request_id)


def refusal_status(refusal: Refusal, balance_status: int = 402) -> int:
    """The HTTP status. ``balance_status``: some clients know 429 only (``balance_status`` of the surface)."""
    return balance_status if refusal.code == "insufficient_balance" else refusal.rule.status


def refusal_headers(refusal: Refusal, request_id: str) -> Headers:
    """Headers of an error response: identity, how long to wait, whether to try again at all."""
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, refusal.retry_after_s)))
    if refusal.rule.retry is not None:
        headers.append((b"x-should-retry", b"true" if refusal.rule.retry else b"false"))
    if refusal.rule.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
