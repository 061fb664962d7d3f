"""What the books say when they are asked: reports, one request explained, money's history, pages for an export.

Everything here reads on the writer's connection, so each query is bounded: by the indexes on days, or by a page.
"""

from __future__ import annotations

from typing import Any, Literal

from streamrouter.ledger.connection import Connection
from streamrouter.ledger.days import DAY_NS, iso
from streamrouter.ledger.reads import account_named
from streamrouter.policy.money import nano_to_usd

By = Literal["account", "key", "model", "day"]
Table = Literal["requests", "entries", "usage"]
PAGE = 2000

_BY = {"account": "a.name", "key": "k.display || ' ' || k.id", "model": "m.model", "day": "m.day"}
_REPORT = """
    SELECT {by} AS what, sum(m.requests), sum(m.input), sum(m.output), sum(m.cached), sum(m.reasoning), sum(m.cost),
        sum(m.spent), sum(m.over_input), sum(m.over_output)
    FROM usage_model AS m JOIN account AS a ON a.id = m.account_id JOIN api_key AS k ON k.id = m.key_id
    WHERE m.day >= ? AND (CAST(? AS TEXT) IS NULL OR m.account_id = ?) GROUP BY what ORDER BY {order}"""
_HISTORY = """
    SELECT created_ns, kind, amount, ref, rowid FROM entry WHERE account_id = ?
    UNION ALL SELECT (day + 1) * ? - 1, 'usage', -sum(spent), NULL, 0 FROM usage_model WHERE account_id = ?
        GROUP BY day HAVING sum(spent) <> 0
    ORDER BY 1, 5"""
_PAGES = {
    "requests": """
        SELECT h.*, a.name AS account, k.display AS key_display FROM hold AS h
        JOIN account AS a ON a.id = h.account_id JOIN api_key AS k ON k.id = h.key_id
        WHERE h.id > ? AND h.state <> 'open' ORDER BY h.id LIMIT ?""",
    "entries": """
        SELECT e.id, e.account_id, e.kind, e.amount, e.ref, e.created_ns, a.name AS account
        FROM entry AS e JOIN account AS a ON a.id = e.account_id
        WHERE e.rowid > coalesce((SELECT rowid FROM entry WHERE id = ?), 0) ORDER BY e.rowid LIMIT ?""",
    "usage": """
        SELECT m.account_id || '/' || m.day || '/' || m.key_id || '/' || m.model AS id, m.*, a.name AS account
        FROM usage_model AS m JOIN account AS a ON a.id = m.account_id
        WHERE m.account_id || '/' || m.day || '/' || m.key_id || '/' || m.model > ? ORDER BY id LIMIT ?""",
}


def report(connection: Connection, by: By, since: int, name: str | None) -> list[dict[str, Any]]:
    """Usage since a day, summed up by what is asked for (of one account). LookupError if there is no such account."""
    account_id = None if name is None else account_named(connection, name).id
    query = _REPORT.format(by=_BY[by], order="1" if by == "day" else "7 DESC, 2 DESC, 1")
    rows = connection.execute(query, (since, account_id, account_id))
    return [_report_row(by, row) for row in rows]


def _report_row(by: By, row: tuple[Any, ...]) -> dict[str, Any]:
    what, requests, input_tokens, output, cached, reasoning, cost, spent, over_input, over_output = row
    return {
        by: iso(what) if by == "day" else what,
        "requests": requests,
        "input": input_tokens,
        "output": output,
        "cached": cached,
        "reasoning": reasoning,
        "cost_usd": nano_to_usd(cost),
        "spent_usd": nano_to_usd(spent),
        "over_input": over_input,
        "over_output": over_output,
    }


def history(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Every entry of an account and its spending by day, oldest first, with the balance after each."""
    account = account_named(connection, name)
    balance, lines = 0, []
    for at_ns, kind, amount, ref, _ in connection.execute(_HISTORY, (account.id, DAY_NS, account.id)):
        balance += amount
        lines.append(
            {
                "day": iso(at_ns // DAY_NS),
                "kind": kind,
                "amount_usd": nano_to_usd(amount),
                "ref": ref,
                "balance_usd": nano_to_usd(balance),
            }
        )
    return lines


def hold(connection: Connection, hold_id: str) -> dict[str, Any]:
    """The row of one request, with the names of its account and key. LookupError if there is none (any more)."""
    cursor = connection.execute(
        "SELECT h.*, a.name AS account, k.display AS key_display FROM hold AS h"
        " JOIN account AS a ON a.id = h.account_id JOIN api_key AS k ON k.id = h.key_id WHERE h.id = ?",
        (hold_id,),
    )
    row = cursor.fetchone()
    if row is None:
        raise unknown(hold_id)
    return dict(zip([column[0] for column in cursor.description], row, strict=True))


def unknown(hold_id: str) -> LookupError:
    """For an id that is no request's, and, in the same words, for one that whoever asks may not see."""
    return LookupError(
        f"the ledger has no request {hold_id!r}; it was refused, or removed after ledger.retain_holds_days"
    )


def page(connection: Connection, table: Table, after: str, limit: int = PAGE) -> list[dict[str, Any]]:
    """The next rows of an export, by id after ``after``; fewer than ``limit``: these are the last."""
    cursor = connection.execute(_PAGES[table], (after, limit))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
