"""Tables as CSV (RFC 4180, UTF-8), streamed page by page; no cell is a formula where a spreadsheet opens it (S32)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from streamrouter.admin.desk import AdminError
from streamrouter.errors import Refusal
from streamrouter.ledger.browsing import MOST_ROWS
from streamrouter.web.console.route import SAFETY, until_left

SHEET_ROWS = MOST_ROWS
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = frozenset('",\r\n')

Pages = Callable[[str], Awaitable[dict[str, Any]]]


def cell(value: Any) -> str:
    """One cell. Text that a spreadsheet would take for a formula is prefixed with ``'``; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA) and not _is_amount(text):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _QUOTED & set(text) else text


def _is_amount(text: str) -> bool:
    """``-12.50``: a negative amount of ours is a number, not a formula."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    return whole.isascii() and whole.isdigit() and (not fraction or (fraction.isascii() and fraction.isdigit()))


def line(values: list[Any]) -> bytes:
    """One record."""
    return (",".join(map(cell, values)) + "\r\n").encode("utf-8", "replace")


class Sheet:
    """A CSV file as an ASGI application. ``pages(cursor)`` gives ``data`` and ``next``; it is asked until the end.

    The first page is asked for before the status is sent, so that what is refused has a status of its own (``begin``).
    """

    def __init__(self, name: str, columns: list[str], pages: Pages, draining: Callable[[], bool]) -> None:
        self._name = name
        self._columns = columns
        self._pages = pages
        self._draining = draining
        self._first: dict[str, Any] = {}

    async def begin(self) -> Sheet:
        """Ask for the first page. Raises what that raises."""
        self._first = await self._pages("")
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/csv; charset=utf-8; header=present"),
            (b"content-disposition", f'attachment; filename="{self._name}.csv"'.encode()),
            (b"cache-control", b"no-store"),
            *SAFETY,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = asyncio.ensure_future(until_left(receive))
        try:
            await self._send_pages(send, left)
        finally:
            left.cancel()

    async def _send_pages(self, send: Send, left: asyncio.Future[None]) -> None:
        page, head = self._first, line(self._columns)
        while True:
            rows = [line([row[name] for name in self._columns]) for row in page["data"]]
            following = page.get("next")
            await send(
                {"type": "http.response.body", "body": head + b"".join(rows), "more_body": following is not None}
            )
            if following is None:
                return
            head = b""
            if left.done() or self._draining():
                return  # without the end of the body: a file that is not whole must not look whole
            try:
                page = await self._pages(following)
            except (Refusal, AdminError):
                return
