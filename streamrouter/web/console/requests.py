"""What was asked: requests page by page, one of them explained, usage summed up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, structs

from streamrouter.admin.browsing import Cursor, Limit, Time
from streamrouter.admin.desk import Text
from streamrouter.web.console.answers import books
from streamrouter.web.console.route import Body, Context, Reply, Route
from streamrouter.web.console.sheets import SHEET_ROWS, Sheet

COLUMNS = list(books.Request.__struct_fields__)
By = Literal["user", "key", "model", "day"]


class OwnFilter(Body, frozen=True):
    """Every filter that is given must match. ``since``, ``until``: moments (ISO 8601) or spans back from now (24h)."""

    key: Text | UnsetType = UNSET
    model: Text | UnsetType = UNSET
    upstream: Text | UnsetType = UNSET
    end: Text | UnsetType = UNSET
    source: Text | UnsetType = UNSET
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    cursor: Cursor = ""
    limit: Limit = 100
    format: Literal["json", "csv"] = "json"


class Filter(OwnFilter, frozen=True):
    """As above, of one user or of all."""

    user: Text | UnsetType = UNSET


class OwnReport(Body, frozen=True):
    """``since``: today and the days before it, such as "7d"."""

    by: By = "day"
    since: Annotated[str, Meta(max_length=16)] = "7d"
    format: Literal["json", "csv"] = "json"


class Report(OwnReport, frozen=True):
    """As above, of one user or of all."""

    user: Text | UnsetType = UNSET


async def listed(context: Context) -> Any:
    return await requests_of(context, {})


async def requests_of(context: Context, whose: dict[str, str]) -> Any:
    """A page of requests, or all that match as a file."""
    wanted = {**structs.asdict(context.query), **whose}
    kind, cursor, limit = (wanted.pop(name) for name in ("format", "cursor", "limit"))

    async def page(cursor: str, limit: int = SHEET_ROWS) -> dict[str, Any]:
        async with context.site.reports:
            found: dict[str, Any] = await context.perform("requests.list", **wanted, cursor=cursor, limit=limit)
        return found

    if kind == "json":
        return await page(cursor, limit)
    return Reply(app=await Sheet("requests", COLUMNS, page, context.site.draining).begin())


async def explained(context: Context) -> Any:
    """One request: what was held, charged, how long each phase took."""
    return await context.perform("requests.show", id=context.path["id"])


async def usage(context: Context) -> Any:
    return await usage_of(context, {})


async def usage_of(context: Context, whose: dict[str, str]) -> Any:
    """Usage by user, key, model or day, as JSON or as a file."""
    wanted = {**structs.asdict(context.query), **whose}
    by, kind = wanted.pop("by"), wanted.pop("format")
    column = "account" if by == "user" else by
    async with context.site.reports:
        rows = await context.perform("usage.report", by=column, **wanted)
    data = [{by: row[column], **{name: value for name, value in row.items() if name != column}} for row in rows]

    async def page(cursor: str) -> dict[str, Any]:
        return {"data": data, "next": None}

    if kind == "json":
        return await page("")
    columns = [
        by,
        *(name for name in books.UsageRow.__struct_fields__ if name not in ("user", "key", "model", "day")),
    ]
    return Reply(app=await Sheet("usage", columns, page, context.site.draining).begin())


ROUTES = (
    Route("GET", "/requests", "admin", listed, "Requests, newest first", query=Filter, answer=books.Requests),
    Route("GET", "/requests/{id}", "admin", explained, "One request explained", answer=books.Explained),
    Route("GET", "/usage", "admin", usage, "Usage by user, key, model or day", query=Report, answer=books.UsageReport),
)
