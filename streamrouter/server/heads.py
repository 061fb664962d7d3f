"""The heads of plain requests and of their responses, without a state machine.

A request is *plain* when nothing about its framing needs a second thought: HTTP/1.1, a path, one Host, a
Content-Length or no body. llhttp (httptools) reads it; the rules on top make what is accepted here a subset of what
h11 accepts, with the same meaning (property-tested). Everything else, bad requests above all, is left to h11.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from urllib.parse import unquote

import httptools
from msgspec import Struct

from streamrouter.relay.sink import Headers

MOST_HEAD_BYTES = 32 * 1024
_SECOND_THOUGHTS = (b"transfer-encoding", b"expect", b"upgrade", b"http2-settings")
_METHODS = {name.encode(): name for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_MOST_LENGTH_DIGITS = 15
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Head(Struct, frozen=True, gc=False):
    """A plain request's head. ``by_name``: the first header of each name; ``length``: of the body that follows, in
    bytes; ``keep``: the client wants to go on.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    by_name: dict[bytes, bytes]
    length: int
    keep: bool


class HeadReader:
    """Reads the heads of one connection, one after the other. What it has refused once it must not be asked again."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._target = b""
        self._complete = False
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._complete = True

    def read(self, head: bytes) -> Head | None:
        """The head, which ends in an empty line; None if it is not plain."""
        headers: Headers = []
        self._headers = headers
        self._target = b""
        self._complete = False
        try:
            self._parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        method, target = self._parser.get_method(), self._target
        if method not in _METHODS or not self._complete or not target.startswith(b"/") or not target.isascii():
            return None
        if not head.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
            return None
        if b" \r\n" in head or b"\t\r\n" in head or b"\r\n " in head or b"\r\n\t" in head:
            return None  # folded lines, and white space that llhttp leaves at a value's end
        by_name = dict(headers)
        length, keep = _framing(headers, by_name)
        if length < 0:
            return None
        if len(by_name) != len(headers):
            by_name = dict(reversed(headers))
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("ascii")
        path = unquote(path) if "%" in path else path
        return Head(_METHODS[method], path, raw_path, query, headers, by_name, length, keep)

    def skip(self, body: bytes) -> None:
        """A part of the body came: llhttp counts, so that it knows the next head when it sees it."""
        self._parser.feed_data(body)


def _framing(headers: Headers, by_name: dict[bytes, bytes]) -> tuple[int, bool]:
    """The body's length and whether the connection is kept; a length of -1 where h11 must have a look."""
    if len(by_name) != len(headers):
        names = [name for name, _ in headers]
        if names.count(b"host") != 1 or names.count(b"content-length") > 1 or names.count(b"connection") > 1:
            return -1, False
    for name in _SECOND_THOUGHTS:
        if name in by_name:
            return -1, False
    length, connection = by_name.get(b"content-length", b"0"), by_name.get(b"connection", b"keep-alive").lower()
    if b"host" not in by_name or not length.isdigit() or len(length) > _MOST_LENGTH_DIGITS:
        return -1, False
    if connection not in (b"keep-alive", b"close"):
        return -1, False
    return int(length), connection == b"keep-alive"


class ResponseHeads:
    """Writes the heads of responses. ``common``: the headers of every one, asked for once a second (``date``)."""

    def __init__(self, common: Callable[[], Iterable[tuple[bytes, bytes]]]) -> None:
        self._common = common
        self._second = 0
        self._lines = b""
        self._statuses: dict[int, bytes] = {}

    def write(self, status: int, headers: Headers, framing: bytes) -> bytes:
        """The head. ``framing``: ready lines of the server's own. ValueError for what would end a line early."""
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
            raise ValueError("a response header holds a line break")
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._lines = b"".join([b"%b: %b\r\n" % header for header in self._common()])
        first = self._statuses.get(status)
        if first is None:
            first = f"HTTP/1.1 {status:03} {_REASONS.get(status, '')}\r\n".encode("ascii")
            self._statuses[status] = first
        return b"%b%b%b%b\r\n" % (first, lines, self._lines, framing)
