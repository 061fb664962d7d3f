"""The verbs of those who look at the books page by page: requests, entries, the audit, everybody's day.

Each gives ``data``, newest first, and ``next``: the cursor of the next page, None on the last one. A page with a filter
may be short and still have a next one (ledger/browsing.py says why). They are rows of verbs.py's table like all others.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from streamrouter.admin.bookkeeping import explanation
from streamrouter.admin.desk import Args, Desk, Text, Verb, find, when
from streamrouter.admin.shown import account_shown, usage_shown
from streamrouter.admin.waterfall import phases
from streamrouter.ids import first_request_id
from streamrouter.ledger import browsing, reads, reports
from streamrouter.ledger.browsing import MOST_ROWS, Filter, Place
from streamrouter.ledger.days import iso
from streamrouter.policy.money import nano_to_usd

LOOKS = 50  # reads that one page of a filter may take before it ends early
_SPAN = re.compile(r"([0-9]{1,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CURSOR = re.compile(r"[0-9a-z_]{1,40}")
_SECOND_NS = 1_000_000_000
Limit = Annotated[int, Meta(ge=1, le=MOST_ROWS)]
Cursor = Annotated[str, Meta(max_length=100)]
Time = Annotated[str, Meta(max_length=40)]


class Requests(Args, frozen=True):
    """``requests.list``: every filter that is given must match. ``since`` and ``until`` are moments (ISO 8601, UTC
    without an offset) or spans back from now ("15m", "24h", "7d")."""

    user: Text | None = None
    key: Text | None = None
    model: Text | None = None
    upstream: Text | None = None
    end: Text | None = None
    source: Text | None = None
    since: Time | None = None
    until: Time | None = None
    cursor: Cursor = ""
    limit: Limit = 100


class RequestShow(Args, frozen=True):
    """``requests.show``: one request explained; ``user``: only if it is that account's."""

    id: Text
    user: Text | None = None


class Entries(Args, frozen=True):
    """``entries.list``: of one user with the balance after each and a line per day of spending, or everybody's."""

    user: Text | None = None
    cursor: Cursor = ""
    limit: Limit = 100


class Overview(Args, frozen=True):
    """``user.overview``: one user, or all, with today's usage and the number of active keys."""

    user: Text | None = None


class Audit(Args, frozen=True):
    """``audit.list``."""

    cursor: Cursor = ""
    limit: Limit = 100


async def _requests(desk: Desk, args: Requests) -> dict[str, Any]:
    account = None if args.user is None else await find(desk.ledger, args.user)
    now_ns = desk.ledger.now_ns
    wanted = Filter(
        account_id=None if account is None else account.id,
        key=args.key,
        model=args.model,
        upstream=args.upstream,
        end=args.end,
        source=args.source,
        since="" if args.since is None else first_request_id(moment(args.since, now_ns)),
        until="~" if args.until is None else first_request_id(moment(args.until, now_ns)),
    )
    if args.cursor and not _CURSOR.fullmatch(args.cursor):
        raise ValueError("the cursor is not one that a page had as its next")
    found: list[dict[str, Any]] = []
    before: str | None = args.cursor
    for _ in range(LOOKS):
        at, left = before or "", args.limit - len(found)
        rows, before = await desk.ledger.ask(lambda raw, at=at, left=left: browsing.requests(raw, wanted, at, left))  # type: ignore[misc]
        found += rows
        if before is None or len(found) == args.limit:
            break
    return {"data": [_request(row) for row in found], "next": before}


def _request(row: dict[str, Any]) -> dict[str, Any]:
    created_ns, cost, spent, held = (row.pop(name) for name in ("created_ns", "cost", "spent", "held"))
    return {
        "id": row.pop("id"),
        "time": to_the_millisecond(created_ns),
        **row,
        "stream": bool(row["stream"]),
        "cost_usd": nano_to_usd(cost),
        "spent_usd": nano_to_usd(spent),
        "held_usd": nano_to_usd(held),
    }


async def _request_show(desk: Desk, args: RequestShow) -> dict[str, Any]:
    row = await desk.ledger.ask(lambda raw: reports.hold(raw, args.id))
    if args.user is not None and args.user not in (row["account"], row["account_id"]):
        raise reports.unknown(args.id)
    recent = desk.streams.recent(args.id) if desk.streams is not None else None
    if recent is not None:
        row["answer_ms"] = recent.answer_ms
    return {
        **explanation(row),
        "key_id": row["key_id"],
        "stream": bool(row["stream"]),
        "ttft_ms": row["ttft_ms"],
        "duration_ms": row["duration_ms"],
        "gap_p99_ms": row["gap_p99_ms"],
        "phases": phases(row),
        "attempts": None
        if recent is None
        else [{"upstream": upstream, "outcome": outcome} for upstream, outcome in recent.attempts],
    }


async def _entries(desk: Desk, args: Entries) -> dict[str, Any]:
    if args.user is None:
        rows, after = await desk.ledger.ask(lambda raw: browsing.all_entries(raw, _number(args.cursor), args.limit))
        return {"data": [_entry(row) for row in rows], "next": None if after is None else str(after)}
    account = await find(desk.ledger, args.user)
    rows, place = await desk.ledger.ask(lambda raw: browsing.entries(raw, account.id, _place(args.cursor), args.limit))
    following = None if place is None else "_".join(map(str, astuple(place))).replace("-", "m")
    return {"data": [{**_entry(row), "user": account.name} for row in rows], "next": following}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """One line of money. A line of spending has no id and no moment of its own: it stands for its ``day``."""
    balance = row.get("balance")
    day = row.get("day")
    return {
        "id": row["id"],
        "time": when(row["at_ns"]) if day is None else None,
        "day": iso(row["at_ns"] // (86_400 * _SECOND_NS) if day is None else day),
        "user": row.get("user"),
        "kind": row["kind"],
        "amount_usd": nano_to_usd(row["amount"]),
        "ref": row["ref"],
        "balance_usd": None if balance is None else nano_to_usd(balance),
    }


def _place(cursor: str) -> Place | None:
    if not cursor:
        return None
    at_ns, number, balance = (_integer(part) for part in [*cursor.split("_"), "", ""][:3])
    return Place(at_ns, number, balance)


def _number(cursor: str) -> int | None:
    return _integer(cursor) if cursor else None


def _integer(text: str) -> int:
    digits = text.removeprefix("m")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 + 1 and int(digits) < 1 << 63):
        raise ValueError("the cursor is not one that a page had as its next")
    return -int(digits) if text.startswith("m") else int(digits)


async def _audit(desk: Desk, args: Audit) -> dict[str, Any]:
    rows, after = await desk.ledger.ask(lambda raw: browsing.audit(raw, _number(args.cursor), args.limit))
    data = [
        {
            "id": row["number"],
            "time": when(row["at_ns"]),
            "actor": row["actor"],
            "action": row["action"],
            "subject": row["subject"],
            "detail": msgspec.json.decode(row["detail"]),
        }
        for row in rows
    ]
    return {"data": data, "next": None if after is None else str(after)}


async def _overview(desk: Desk, args: Overview) -> list[dict[str, Any]]:
    rows = await desk.ledger.ask(lambda raw: reads.usages(raw, desk.ledger.day, args.user))
    return [{**account_shown(account), "usage": usage_shown(usage), "keys": keys} for account, usage, keys in rows]


def moment(text: str, now_ns: int) -> int:
    """``text`` as Unix nanoseconds: a moment, or a span back from now. ValueError if it is neither."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return max(0, now_ns - int(span[1]) * _SECONDS[span[2]] * _SECOND_NS)
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max(0, round(at.timestamp() * 1000)) * 1_000_000
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no moment such as 2026-01-31T12:00:00Z, and no span such as 24h") from None


def to_the_millisecond(unix_ns: int) -> str:
    """A moment as ISO 8601 in UTC, to the millisecond."""
    seconds, rest = divmod(unix_ns // 1_000_000, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


BROWSING: dict[str, Verb] = {
    "requests.list": Verb(Requests, _requests),
    "requests.show": Verb(RequestShow, _request_show),
    "entries.list": Verb(Entries, _entries),
    "audit.list": Verb(Audit, _audit),
    "user.overview": Verb(Overview, _overview),
}
