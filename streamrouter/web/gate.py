"""The first ASGI layer: strict about what HTTP it lets in.

The server below accepts more than is wise (lower-case methods, absolute-form targets, CONNECT, control characters,
hundreds of headers: measured). Whatever is let through here has a plain method, a plain path and a sane header block.
Routing and authentication read ``scope["path"]`` only, never the Host header.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from starlette.types import ASGIApp, Receive, Scope, Send

from streamrouter.errors import Refusal
from streamrouter.web.body import by_name
from streamrouter.web.replies import send_refusal
from streamrouter.wire.refusals import OPENAI, Style

METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
MOST_HEADERS = 100
MOST_HEADER_BYTES = 16 * 1024
MOST_PATH_BYTES = 4096
_OWN_PLACE = frozenset({".", ".."})


class Gate:
    """Refuses what no client of ours sends; everything else goes to ``app``. ``style``: how refusals look at a path."""

    def __init__(
        self, app: ASGIApp, new_id: Callable[[], str], style: Callable[[Scope], Style] = lambda scope: OPENAI
    ) -> None:
        self._app = app
        self._style = style
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
            return
        refusal = verdict(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            style = self._style(scope)
            await send_refusal(send, refusal, self._new_id(), headers=[(b"connection", b"close")], style=style)


def verdict(scope: Scope) -> Refusal | None:
    """Why a request is refused unseen, None for a sane one."""
    path = scope["path"]
    if scope["method"] not in METHODS:
        return Refusal("method_not_allowed", "This method is not served here.", allow=", ".join(sorted(METHODS)))
    if not path.startswith("/") or path.startswith("//") or len(path) > MOST_PATH_BYTES:
        return Refusal("bad_request", "The request's target must be a plain path.")
    if not path.isprintable() or "\\" in path or ("/." in path and not _OWN_PLACE.isdisjoint(path.split("/"))):
        return Refusal("bad_request", "The request's path holds characters or segments that are not allowed.")
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or len(b"".join(chain.from_iterable(headers))) > MOST_HEADER_BYTES:
        return Refusal("bad_request", f"At most {MOST_HEADERS} headers and {MOST_HEADER_BYTES} bytes of them, please.")
    return _framing(headers, by_name(scope))


def _framing(headers: list[tuple[bytes, bytes]], by_name: dict[bytes, bytes]) -> Refusal | None:
    """Two framings at once are how requests are smuggled past an edge (RFC 9112 section 6.1)."""
    if b"transfer-encoding" in by_name and b"content-length" in by_name:
        return Refusal("bad_request", "A request has either Content-Length or Transfer-Encoding, not both.")
    if len(by_name) != len(headers):
        names = [name for name, _ in headers]
        if names.count(b"content-length") > 1 or names.count(b"host") > 1 or names.count(b"authorization") > 1:
            return Refusal("bad_request", "A header that may stand once stands twice.")
    if b"upgrade" in by_name and any(name == b"upgrade" and b"h2c" in value.lower() for name, value in headers):
        return Refusal("bad_request", "HTTP/2 is not spoken on a clear-text port.")
    return None
