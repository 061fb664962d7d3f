"""Refusals as bytes: the one place where they get their status, headers and body (or their event inside a stream)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from streamrouter.errors import RULES, Refusal
from streamrouter.wire.fields import InvalidFields

Headers = list[tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode


class Style(Struct, frozen=True, kw_only=True):
    """How a surface words its refusals: the body's shape, statuses by code where they differ, where the id stands."""

    shape: Literal["openai", "detail"] = "openai"
    statuses: Mapping[str, int] = {}
    id_in_body: bool = True
    id_in_header: bool = True


OPENAI: Final = Style()


def statuses_of(status: Mapping[str, int]) -> dict[str, int]:
    """The statuses by code. ``status`` is by code, or by the status that we would have given; the code wins."""
    by_status = {code: status[str(rule.status)] for code, rule in RULES.items() if str(rule.status) in status}
    return by_status | {name: value for name, value in status.items() if name in RULES}


def error_body(refusal: Refusal, request_id: str, style: Style = OPENAI) -> bytes:
    """The body: OpenAI's error object, or a ``detail`` list, with our request id in it."""
    if style.shape == "detail":
        return _encode(_detail(refusal, request_id, style))
    return _encode({"error": _error(refusal, request_id, style)})


def error_event(refusal: Refusal, request_id: str, style: Style = OPENAI) -> bytes:
    """The event that ends a stream early: an error and nothing else, no ``choices``, no ``[DONE]`` after it.

    A ``detail`` list stands beside OpenAI's error object: that one is what clients of streams look for.
    """
    event: dict[str, Any] = {"error": _error(refusal, request_id, style)}
    if style.shape == "detail":
        event |= _detail(refusal, request_id, style)
    return b"data: %b\n\n" % _encode(event)


def _error(refusal: Refusal, request_id: str, style: Style) -> dict[str, Any]:
    error = {"message": refusal.message, "type": refusal.rule.type, "param": refusal.param, "code": refusal.code}
    return {**error, "request_id": request_id} if style.id_in_body else error


def _detail(refusal: Refusal, request_id: str, style: Style) -> dict[str, Any]:
    """FastAPI's shape. A request with faults names all of them and nothing else; any other refusal has its id too."""
    if isinstance(refusal, InvalidFields):
        return {
            "detail": [
                {"loc": ["body", *fault.loc], "msg": fault.message, "type": fault.kind} for fault in refusal.faults
            ]
        }
    loc = ["body", refusal.param] if refusal.param else ["request"]
    detail = {"detail": [{"loc": loc, "msg": refusal.message, "type": refusal.code}]}
    return {**detail, "request_id": request_id} if style.id_in_body else detail


def refusal_status(refusal: Refusal, balance_status: int = 402, style: Style = OPENAI) -> int:
    """The HTTP status. ``balance_status``: some clients know 429 only (``balance_status`` of the surface)."""
    status = style.statuses.get(refusal.code)
    if status is not None:
        return status
    return balance_status if refusal.code == "insufficient_balance" else refusal.rule.status


def refusal_headers(refusal: Refusal, request_id: str, style: Style = OPENAI) -> Headers:
    """Headers of an error response: identity, how long to wait, whether to try again at all."""
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
    ]
    if style.id_in_header:
        headers.append((b"x-request-id", request_id.encode("ascii")))
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, refusal.retry_after_s)))
    if refusal.rule.retry is not None:
        headers.append((b"x-should-retry", b"true" if refusal.rule.retry else b"false"))
    if refusal.allow:
        headers.append((b"allow", refusal.allow.encode("ascii")))
    if refusal.rule.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers
