"""CORS for clients that live in a browser (docs/clients.md 9): configured origins, never ``*`` with credentials."""

from __future__ import annotations

import re

from starlette.types import Scope, Send

from streamrouter.web.body import header
from streamrouter.web.replies import send_body
from streamrouter.wire.refusals import Headers

EXPOSED = (
    b"x-request-id, x-client-request-id, retry-after, x-should-retry, idempotent-replayed, x-streamrouter-upstream, "
    b"x-streamrouter-resume, "
    b"x-streamrouter-max-tokens, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    b"x-ratelimit-reset-requests, x-ratelimit-limit-input-tokens, x-ratelimit-remaining-input-tokens, "
    b"x-ratelimit-reset-input-tokens, x-ratelimit-limit-output-tokens, x-ratelimit-remaining-output-tokens, "
    b"x-ratelimit-reset-output-tokens"
)
_HEADER_LIST = re.compile(rb"[A-Za-z0-9_, -]{1,2000}")


class Cors:
    """``origins``: exact origins such as ``https://chat.example.org``, or ``*`` (without credentials) for any."""

    def __init__(self, origins: list[str]) -> None:
        self._origins = {origin.encode("ascii", "replace") for origin in origins}

    def headers(self, scope: Scope) -> Headers:
        """What a response to this request carries; nothing for same-origin requests and strangers."""
        origin = header(scope, b"origin") if self._origins else None
        if origin is None:
            return []
        if origin in self._origins:
            return [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", EXPOSED),
                (b"vary", b"Origin"),
            ]
        if b"*" in self._origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
        return []

    async def preflight(self, scope: Scope, send: Send) -> None:
        """Answer an OPTIONS request: asked-for headers are mirrored, private-network preflights granted."""
        headers = self.headers(scope)
        if headers:
            headers.append((b"access-control-allow-methods", b"GET, POST, OPTIONS"))
            headers.append((b"access-control-max-age", b"600"))
            asked = header(scope, b"access-control-request-headers")
            if asked is not None and _HEADER_LIST.fullmatch(asked):
                headers.append((b"access-control-allow-headers", asked))
            if header(scope, b"access-control-request-private-network") == b"true":
                headers.append((b"access-control-allow-private-network", b"true"))
        await send_body(send, 204, b"", headers)
