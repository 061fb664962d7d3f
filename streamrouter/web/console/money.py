"""Money: top-ups, refunds, adjustments, and the lines of an account with the balance after each."""

from __future__ import annotations

from typing import Any, Literal

from streamrouter.admin.browsing import Cursor, Limit
from streamrouter.admin.desk import Text
from streamrouter.web.console.answers import books
from streamrouter.web.console.route import Body, Context, Reply, Route
from streamrouter.web.console.sheets import SHEET_ROWS, Sheet

COLUMNS = list(books.Entry.__struct_fields__)


class Amount(Body, frozen=True):
    """USD as a decimal string (``"12.50"``); an adjustment may be negative."""

    amount: Text


class Page(Body, frozen=True):
    """``cursor`` is the ``next`` of the page before; ``format`` csv is all of it as one file."""

    cursor: Cursor = ""
    limit: Limit = 100
    format: Literal["json", "csv"] = "json"


async def topped_up(context: Context) -> Any:
    return await _booked(context, "topup")


async def refunded(context: Context) -> Any:
    return await _booked(context, "refund")


async def adjusted(context: Context) -> Any:
    return await _booked(context, "adjust")


async def _booked(context: Context, verb: str) -> Any:
    return await context.perform(verb, user=context.path["user"], amount=context.body.amount, ref=context.ref)


async def of_user(context: Context) -> Any:
    """One user's lines, newest first."""
    return await entries_of(context, {"user": context.path["user"]})


async def listed(context: Context) -> Any:
    """Everybody's entries, newest first, without balances."""
    return await entries_of(context, {})


async def entries_of(context: Context, whose: dict[str, str]) -> Any:
    """A page of entries, or all of them as a file."""
    query: Page = context.query

    async def page(cursor: str, limit: int = SHEET_ROWS) -> dict[str, Any]:
        found: dict[str, Any] = await context.perform("entries.list", **whose, cursor=cursor, limit=limit)
        return found

    if query.format == "json":
        return await page(query.cursor, query.limit)
    return Reply(app=await Sheet("entries", COLUMNS, page, context.site.draining).begin())


ROUTES = (
    Route(
        "POST",
        "/users/{user}/topups",
        "admin",
        topped_up,
        "Book a payment",
        Amount,
        status=201,
        once=True,
        answer=books.TopUp,
    ),
    Route(
        "POST",
        "/users/{user}/refunds",
        "admin",
        refunded,
        "Book a refund",
        Amount,
        status=201,
        once=True,
        answer=books.Booked,
    ),
    Route(
        "POST",
        "/users/{user}/adjustments",
        "admin",
        adjusted,
        "Book an adjustment",
        Amount,
        status=201,
        once=True,
        answer=books.Booked,
    ),
    Route("GET", "/users/{user}/entries", "admin", of_user, "A user's money", query=Page, answer=books.Entries),
    Route("GET", "/entries", "admin", listed, "Everybody's entries", query=Page, answer=books.Entries),
)
