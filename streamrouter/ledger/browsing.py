"""Pages of the books, newest first, for people who look at them: requests, entries with the balance, the audit.

Every statement is fixed, its values are bound. A page is bounded in rows and in what it looks at: a filter that
hardly anything passes would else read the whole table while commits wait. So a page may end early, with a cursor to go
on from; only the last one has none. Ids of requests are in order of time, and a cursor is the last row's place. There
is no index by account: it would cost each request 9 us of CPU (measured), and a read looks at ten rows per us.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from streamrouter.ledger.connection import Connection
from streamrouter.ledger.days import DAY_NS
from streamrouter.ledger.reads import account_named

MOST_ROWS = 500
LOOK = 8000  # rows that one read may look at: a millisecond of the writer's thread
_AFTER_ALL = "~"  # sorts behind every id
_END_NS = 1 << 62

_COLUMNS = """h.id, h.created_ns, a.name, k.display, h.key_id, h.surface, h.model, h.upstream, h.stream, h.state,
    h.end_reason, h.usage_source, h.s_input, h.s_cached, h.s_output, h.cost, h.s_usd, h.ttft_ms, h.duration_ms,
    h.gap_p99_ms, h.r_input, h.r_output, h.r_usd"""
_FIELDS = (
    "id", "created_ns", "user", "key", "key_id", "surface", "model", "upstream", "stream", "state", "end",
    "usage_source", "input_tokens", "cached_tokens", "output_tokens", "cost", "spent", "ttft_ms", "duration_ms",
    "gap_p99_ms", "held_input", "held_output", "held",
)  # fmt: skip
_REQUESTS = f"""
    SELECT {_COLUMNS} FROM hold AS h CROSS JOIN account AS a CROSS JOIN api_key AS k
    WHERE a.id = h.account_id AND k.id = h.key_id AND h.id < :before AND h.id >= :since
        AND (CAST(:account AS TEXT) IS NULL OR h.account_id = :account)
        AND (CAST(:key AS TEXT) IS NULL OR h.key_id = :key OR k.display = :key)
        AND (CAST(:model AS TEXT) IS NULL OR h.model = :model)
        AND (CAST(:upstream AS TEXT) IS NULL OR h.upstream = :upstream)
        AND (CAST(:end AS TEXT) IS NULL OR h.end_reason = :end)
        AND (CAST(:source AS TEXT) IS NULL OR h.usage_source = :source)
    ORDER BY h.id DESC LIMIT :limit"""  # noqa: S608 - names of our own
# The last row that a page may look at: everything behind it is left to the next page.
_LAST = "SELECT id FROM hold WHERE id < :before AND id >= :since ORDER BY id DESC LIMIT 1 OFFSET :look - 1"

_ENTRIES = """
    SELECT at_ns, number, id, kind, amount, ref, day FROM (
        SELECT created_ns AS at_ns, rowid AS number, id, kind, amount, ref, NULL AS day FROM entry
            WHERE account_id = :account
        UNION ALL SELECT (day + 1) * :day_ns - 1, 0, NULL, 'usage', -sum(spent), NULL, day FROM usage_model
            WHERE account_id = :account GROUP BY day HAVING sum(spent) <> 0) AS line
    WHERE (at_ns, number) < (:at_ns, :number) ORDER BY at_ns DESC, number DESC LIMIT :limit"""
_ALL_ENTRIES = """
    SELECT e.rowid AS number, e.created_ns AS at_ns, e.id, a.name AS user, e.kind, e.amount, e.ref FROM entry AS e
    JOIN account AS a ON a.id = e.account_id WHERE e.rowid < ? ORDER BY e.rowid DESC LIMIT ?"""
_AUDIT = "SELECT number, at_ns, actor, action, subject, detail FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?"
_SPENT_TODAY = "SELECT coalesce(sum(cost), 0) FROM usage_model WHERE day = ?"


class Filter(Struct, frozen=True, kw_only=True):
    """Which requests. ``since``, ``until``: ids (see ``ids.request_id``); the others match whole values."""

    account_id: str | None = None
    key: str | None = None
    model: str | None = None
    upstream: str | None = None
    end: str | None = None
    source: str | None = None
    since: str = ""
    until: str = _AFTER_ALL


class Place(Struct, frozen=True, array_like=True):
    """Where a page of entries ended: the time and number of its last row, and the balance before it."""

    at_ns: int
    number: int
    balance: int


def requests(
    connection: Connection, wanted: Filter, before: str, limit: int, look: int = LOOK
) -> tuple[list[dict[str, Any]], str | None]:
    """The newest requests before the id ``before`` that pass the filter, and the id to go on from; None: no more."""
    values = {
        "account": wanted.account_id,
        "before": min(before or _AFTER_ALL, wanted.until),
        "since": wanted.since,
        "key": wanted.key,
        "model": wanted.model,
        "upstream": wanted.upstream,
        "end": wanted.end,
        "source": wanted.source,
        "limit": limit,
    }
    last = connection.execute(_LAST, {**values, "look": look}).fetchone()
    if last is not None:
        values["since"] = last[0]
    found = [dict(zip(_FIELDS, row, strict=True)) for row in connection.execute(_REQUESTS, values)]
    if len(found) == limit:
        return found, found[-1]["id"]
    return found, None if last is None else last[0]


def entries(
    connection: Connection, name: str, after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """An account's money, newest first: its entries and a line per day of spending, each with the balance after it.

    It starts at the balance of now and walks back, so a page needs no older row. LookupError: no such account.
    """
    account = account_named(connection, name)
    place = after or Place(_END_NS, 0, account.credited - account.spent)
    values = {
        "account": account.id,
        "day_ns": DAY_NS,
        "at_ns": place.at_ns,
        "number": place.number,
        "limit": limit,
    }
    found, balance = [], place.balance
    for at_ns, number, entry_id, kind, amount, ref, day in connection.execute(_ENTRIES, values):
        found.append(
            {"id": entry_id, "at_ns": at_ns, "kind": kind, "amount": amount, "ref": ref, "day": day, "balance": balance}
        )
        balance -= amount
        place = Place(at_ns, number, balance)
    return found, place if len(found) == limit else None


def all_entries(connection: Connection, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Everybody's entries, newest first, and the number to go on from."""
    return _numbered(connection, _ALL_ENTRIES, before, limit)


def audit(connection: Connection, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """The audit log, newest first, and the number to go on from."""
    return _numbered(connection, _AUDIT, before, limit)


def _numbered(
    connection: Connection, statement: str, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    cursor = connection.execute(statement, (_END_NS if before is None else before, limit))
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    return found, found[-1]["number"] if len(found) == limit else None


def cost_of_day(connection: Connection, day: int) -> int:
    """What all requests of a day came to, in nano-USD."""
    (found,) = connection.execute(_SPENT_TODAY, (day,)).fetchone()
    return int(found)
