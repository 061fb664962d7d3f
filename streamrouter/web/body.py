"""Reading a request's body: bounded in size and time, JSON only, told apart before anything is parsed."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from streamrouter.errors import Refusal
from streamrouter.relay.sink import BODY, BY_NAME


class ClientLeft(Exception):
    """The client left before its request was whole: there is nobody to answer, and nothing was reserved."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that (lower-case) name."""
    return (scope.get(BY_NAME) or by_name(scope)).get(name)


def by_name(scope: Scope) -> dict[bytes, bytes]:
    """The first header of each (lower-case) name."""
    found: dict[bytes, bytes] | None = scope.get(BY_NAME)
    if found is None:
        scope[BY_NAME] = found = dict(reversed(scope["headers"]))
    return found


def check_media_type(scope: Scope) -> None:
    """Only JSON, only uncompressed (S22, F39): forms and XML are not parsed, a bomb is not unpacked."""
    kind = header(scope, b"content-type") or b""
    if kind != b"application/json":
        kind = kind.split(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Refusal("unsupported_media_type", 'Send the request as JSON with "Content-Type: application/json".')
    if (header(scope, b"content-encoding") or b"identity").strip().lower() != b"identity":
        raise Refusal("unsupported_media_type", "Send the body uncompressed (no Content-Encoding).")


async def read_body(scope: Scope, receive: Receive, most: int, timeout_s: float) -> bytes:
    """The whole body. Refusal ``request_too_large`` (by length or while it grows), ``request_timeout``; ClientLeft."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    here = scope.get("extensions", {}).get(BODY)
    body: bytes | None = here() if here is not None else None
    if body is not None:  # nothing is waited for: no deadline is needed
        if len(body) > most:
            raise _too_large(most)
        return body
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await _message(receive)
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > most:
                    raise _too_large(most)
                if not message.get("more_body"):
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except TimeoutError:
        raise Refusal("request_timeout", f"The body did not arrive within {timeout_s:g} s.") from None


async def _message(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message


def _too_large(most: int) -> Refusal:
    return Refusal("request_too_large", f"The body is larger than {most} bytes. Send less, or raise max_body_bytes.")
