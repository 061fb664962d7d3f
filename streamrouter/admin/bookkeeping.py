"""The verbs about money and about the ledger itself: refund, adjust, balance, reports, checks, explanations, exports.

They are rows of verbs.py's table like all others; see docs/ledger.md for what each of them means.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import Annotated, Any

from msgspec import Meta

from streamrouter.admin.desk import AdminError, Args, Desk, Ref, Text, Verb, check_ref, find, number, when
from streamrouter.errors import LedgerError
from streamrouter.ledger import invariants, reports
from streamrouter.ledger.days import iso
from streamrouter.ledger.records import Credit, EntryKind
from streamrouter.ledger.reports import PAGE, By, Table
from streamrouter.policy.money import nano_to_usd, usd_to_nano

_SINCE = re.compile(r"([0-9]{1,5})d")


class Amount(Args, frozen=True):
    """``refund`` and ``adjust``: ``amount`` in USD as a decimal string; ``ref`` makes it happen once."""

    user: Text
    amount: Text
    ref: Ref | None = None


class Balance(Args, frozen=True):
    """``balance``: ``history`` lists every entry, and the spending of each day."""

    user: Text
    history: bool = False


class Report(Args, frozen=True):
    """``usage.report``: ``since`` such as "7d" (today and the six days before it); ``user`` None: everybody."""

    by: By
    since: Annotated[str, Meta(max_length=16)] = "7d"
    user: Text | None = None


class RequestId(Args, frozen=True):
    """``ledger.explain``: the id that the answer had in ``x-request-id``."""

    id: Text


class Page(Args, frozen=True):
    """``ledger.export``: the next rows of a table, after the id ``after``."""

    table: Table = "requests"
    after: Annotated[str, Meta(max_length=600)] = ""


class BackupTo(Args, frozen=True):
    """``ledger.backup``: an absolute path that does not exist yet."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]


class Day(Args, frozen=True):
    """``ledger.day``: ``accept`` takes the wall clock's date as the ledger's, in either direction."""

    accept: bool = False


async def _refund(desk: Desk, args: Amount) -> dict[str, Any]:
    amount = usd_to_nano(args.amount)
    if amount <= 0:
        raise ValueError("a refund is more than 0 USD")
    return await _book(desk, args, "refund", -amount)


async def _adjust(desk: Desk, args: Amount) -> dict[str, Any]:
    return await _book(desk, args, "adjustment", usd_to_nano(args.amount))


async def _book(desk: Desk, args: Amount, kind: EntryKind, amount: int) -> dict[str, Any]:
    check_ref(args.ref)
    account = await find(desk.ledger, args.user)
    done: Credit = await desk.ledger.credit(account.name, [(kind, amount)], args.ref, actor=desk.actor)
    return {
        "user": account.name,
        "kind": kind,
        "amount_usd": nano_to_usd(sum(entry.amount for entry in done.entries)),
        "balance_usd": nano_to_usd(done.account.credited - done.account.spent),
        "ref": args.ref,
        "repeated": done.repeated,
    }


async def _balance(desk: Desk, args: Balance) -> dict[str, Any]:
    account = await find(desk.ledger, args.user)
    found = {
        "user": account.name,
        "unlimited": account.unlimited,
        "credited_usd": nano_to_usd(account.credited),
        "spent_usd": nano_to_usd(account.spent),
        "balance_usd": nano_to_usd(account.credited - account.spent),
        "reserved_usd": nano_to_usd(account.reserved),
        "free_usd": nano_to_usd(account.credited - account.spent - account.reserved),
    }
    if args.history:
        found["history"] = await desk.ledger.ask(lambda raw: reports.history(raw, account.id))
    return found


async def _report(desk: Desk, args: Report) -> list[dict[str, Any]]:
    match = _SINCE.fullmatch(args.since)
    if match is None or int(match[1]) < 1:
        raise ValueError(f"{args.since!r} is no span of days such as 1d, 7d or 30d")
    since = desk.ledger.day - int(match[1]) + 1
    rows = await desk.ledger.ask(lambda raw: reports.report(raw, args.by, since, args.user))
    return [{name: number(value) for name, value in row.items()} for row in rows]


async def _check(desk: Desk, args: Args) -> dict[str, Any]:
    found = await desk.ledger.check()
    if found:
        raise AdminError("ledger_wrong", "the books do not add up:\n" + "\n".join(f"  {line}" for line in found))
    return {"ok": True, "invariants": invariants.COUNT}


async def _explain(desk: Desk, args: RequestId) -> dict[str, Any]:
    row = await desk.ledger.ask(lambda raw: reports.hold(raw, args.id))
    return explanation(row)


def explanation(row: dict[str, Any]) -> dict[str, Any]:
    """How a hold became a charge: what was held, what was leased, what was used, at which price, how it was rounded."""
    uncached = row["s_input"] - row["s_cached"]
    pico = (
        uncached * row["price_input"]
        + row["s_cached"] * row["price_cache_read"]
        + row["s_output"] * row["price_output"]
    )
    charged = row["state"] in ("settled", "recovered")
    return {
        "id": row["id"],
        "user": row["account"],
        "key": row["key_display"],
        "surface": row["surface"],
        "model": row["model"],
        "upstream": row["upstream"],
        "day": iso(row["day"]),
        "state": row["state"],
        "created": when(row["created_ns"]),
        "closed": None if row["closed_ns"] is None else when(row["closed_ns"]),
        "end": row["end_reason"],
        "usage_source": row["usage_source"],
        "held": {"input": row["r_input"], "output": row["r_output"], "usd": nano_to_usd(row["r_usd"])},
        "leased_output": row["lease_output"],
        "lease_steps": [int(step) for step in (row["leases"] or str(row["lease_output"])).split()],
        "charged": {
            "input": row["s_input"],
            "cached": row["s_cached"],
            "output": row["s_output"],
            "reasoning": row["s_reasoning"],
        },
        "over": {"input": row["over_input"], "output": row["over_output"], "usd": nano_to_usd(row["over_usd"])},
        "price_usd_per_million": {
            "input": _per_million(row["price_input"]),
            "cache_read": _per_million(row["price_cache_read"]),
            "output": _per_million(row["price_output"]),
        },
        "pico_usd": number(pico if charged else 0),
        "rounded_up_by_pico_usd": row["cost"] * 1000 - pico if charged else 0,
        "cost_usd": nano_to_usd(row["cost"]),
        "spent_usd": nano_to_usd(row["s_usd"]),
        "billing": "prepaid" if row["prepaid"] else "tokens",
    }


def _per_million(pico_per_token: int) -> str:
    return nano_to_usd(pico_per_token * 1000)


async def _export(desk: Desk, args: Page) -> dict[str, Any]:
    rows = await desk.ledger.ask(lambda raw: reports.page(raw, args.table, args.after))
    return {
        "rows": [{name: number(value) for name, value in row.items()} for row in rows],
        "next": rows[-1]["id"] if len(rows) == PAGE else None,
    }


async def _backup(desk: Desk, args: BackupTo) -> dict[str, Any]:
    if not args.path.startswith("/"):
        raise ValueError("give the backup's whole path: the server's directory is not yours")
    try:
        await desk.ledger.backup(args.path)
    except LedgerError as error:  # the ledger is well: it is the copy that could not be made
        raise AdminError("backup_failed", str(error)) from error
    return await asyncio.to_thread(_verified, args.path)


def _verified(path: str) -> dict[str, Any]:
    """Open the copy and check it as a ledger. It has another path than the books: opening it drops no lock."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        wrong = [] if sound == "ok" else [sound]
        wrong = wrong or invariants.check(connection)
        (holds,) = connection.execute("SELECT count(*) FROM hold").fetchone()
        pages, page_size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    except sqlite3.Error as error:
        raise AdminError("backup_failed", f"{path} cannot be read back: {error}") from error
    finally:
        connection.close()
    if wrong:
        raise AdminError("backup_failed", f"{path} was written and is not right: {'; '.join(wrong)}")
    return {"path": path, "bytes": pages * page_size, "requests": holds, "verified": True}


async def _day(desk: Desk, args: Day) -> dict[str, Any]:
    if args.accept:
        await desk.ledger.accept_day(desk.actor)
    return {"day": iso(desk.ledger.day), "alarm": desk.ledger.clock_alarm, "accepted": args.accept}


BOOKKEEPING: dict[str, Verb] = {
    "refund": Verb(Amount, _refund),
    "adjust": Verb(Amount, _adjust),
    "balance": Verb(Balance, _balance),
    "usage.report": Verb(Report, _report),
    "ledger.check": Verb(Args, _check),
    "ledger.explain": Verb(RequestId, _explain),
    "ledger.export": Verb(Page, _export),
    "ledger.backup": Verb(BackupTo, _backup),
    "ledger.day": Verb(Day, _day),
}
