"""The console's pages: static files of the package, served as they are, under a policy that lets nothing foreign in.

Every path that the pages make up themselves (``/console/requests/…``, no dot in its last segment) gives ``index.html``;
anything else must be the name of a file. Names are looked up in a table, so no path reaches the file system. A file is
read, hashed and compressed when it is first asked for. Folders below ``vendor/`` carry their version in their name and
are cached for good, everything else is asked for again with its ETag.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from streamrouter.web.body import header
from streamrouter.web.replies import send_body
from streamrouter.wire.refusals import Headers

PREFIX = "/console"
_INDEX = "index.html"
_TYPES = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
}
_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFETY: Headers = [
    (b"content-security-policy", _CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_VENDORED = b"public, max-age=31536000, immutable"
_OWN = b"no-cache"


class Page(Struct, frozen=True):
    """One file, ready to leave."""

    media_type: bytes
    body: bytes
    gzipped: bytes
    etag: str  # without its quotes
    caching: bytes


class Pages:
    """The ASGI application below ``/console``."""

    def __init__(self) -> None:
        self._files = dict(_files(resources.files("streamrouter").joinpath("console")))
        self._ready: dict[str, Page] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await _plain(scope, send, 405, b"This is a page: GET it.\n", [(b"allow", b"GET, HEAD")])
            return
        name = self._name(scope["path"])
        if name is None:
            await _plain(scope, send, 404, b"There is no such file. The console begins at /console.\n", [])
            return
        page = self._ready.get(name)
        if page is None:
            page = self._ready[name] = await asyncio.to_thread(_read, name, self._files[name])
        await _send_page(scope, send, page)

    def _name(self, path: str) -> str | None:
        """The file that a path stands for, None for one that is not there."""
        name = path.removeprefix(PREFIX).removeprefix("/")
        if name in self._files:
            return name
        return _INDEX if "." not in name.rpartition("/")[2] else None


async def _send_page(scope: Scope, send: Send, page: Page) -> None:
    """The page, compressed where the browser takes that; 304 where it has it already."""
    compressed = b"gzip" in (header(scope, b"accept-encoding") or b"") and len(page.gzipped) < len(page.body)
    tag = f'"{page.etag}-gz"' if compressed else f'"{page.etag}"'
    headers = [
        (b"etag", tag.encode("ascii")),
        (b"cache-control", page.caching),
        (b"vary", b"Accept-Encoding"),
        *_SAFETY,
    ]
    if _has(scope, tag):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    body = page.gzipped if compressed else page.body
    headers += [(b"content-type", page.media_type)] + ([(b"content-encoding", b"gzip")] if compressed else [])
    await _finish(scope, send, 200, body, headers)


def _has(scope: Scope, tag: str) -> bool:
    """Whether If-None-Match names this tag (weakly compared, RFC 9110 section 13.1.2)."""
    known = (header(scope, b"if-none-match") or b"").decode("latin-1")
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return tag in tags or tags == ["*"]


async def _finish(scope: Scope, send: Send, status: int, body: bytes, headers: Headers) -> None:
    """HEAD gets the length of what GET would get, and no body."""
    if scope["method"] == "HEAD":
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await send_body(send, status, body, headers)


async def _plain(scope: Scope, send: Send, status: int, body: bytes, more: Headers) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *_SAFETY, *more]
    await _finish(scope, send, status, body, headers)


def _files(folder: Traversable, inside: str = "") -> list[tuple[str, Traversable]]:
    """Every file that may be served, by its path below the folder."""
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{inside}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            found.append((inside + entry.name, entry))
    return found


def _read(name: str, file: Traversable) -> Page:
    body = file.read_bytes()
    return Page(
        media_type=_TYPES[name.rpartition(".")[2]],
        body=body,
        gzipped=gzip.compress(body, 9, mtime=0),
        etag=hashlib.sha256(body).hexdigest()[:32],
        caching=_VENDORED if name.startswith("vendor/") else _OWN,
    )
