"""What is read out of the ledger through the writer's queue: accounts, keys, a day's usage."""

from __future__ import annotations

from streamrouter.ledger.connection import Connection
from streamrouter.ledger.days import iso
from streamrouter.ledger.records import Account, Key, Usage
from streamrouter.ledger.sqlite_book import SELECT_ACCOUNT, SELECT_KEY, account_of, key_of

_DAY = (
    "SELECT posted_input, posted_output, reserved_input, reserved_output"
    " FROM usage_day WHERE account_id = ? AND day = ?"
)
_DAYS = (
    "SELECT account_id, posted_input, posted_output, reserved_input, reserved_output FROM usage_day WHERE day = ?"
    " AND account_id = coalesce(?, account_id)"
)
_KEYS = (
    "SELECT account_id, sum(in_flight), sum(CASE status WHEN 'active' THEN 1 ELSE 0 END) FROM api_key"
    " WHERE account_id = coalesce(?, account_id) GROUP BY account_id"
)


def accounts(connection: Connection) -> list[Account]:
    """Every account, by name."""
    return [account_of(row) for row in connection.execute(SELECT_ACCOUNT + " ORDER BY name")]


def keys(connection: Connection, account_id: str | None = None) -> list[Key]:
    """Every key (of one account), oldest first."""
    if account_id is None:
        return [key_of(row) for row in connection.execute(SELECT_KEY + " ORDER BY id")]
    return [key_of(row) for row in connection.execute(SELECT_KEY + " WHERE account_id = ? ORDER BY id", (account_id,))]


def account_named(connection: Connection, name_or_id: str) -> Account:
    """One account by name, or else by id. LookupError if there is none."""
    query = SELECT_ACCOUNT + " WHERE name = :name OR id = :name ORDER BY name <> :name LIMIT 1"
    row = connection.execute(query, {"name": name_or_id}).fetchone()
    if row is None:
        raise LookupError(f"there is no user {name_or_id!r}; see: streamrouter user list")
    return account_of(row)


def usage(connection: Connection, name_or_id: str, day: int) -> Usage:
    """One account's ``day``. LookupError if there is no such account."""
    account = account_named(connection, name_or_id)
    row = connection.execute(_DAY, (account.id, day)).fetchone()
    (in_flight,) = connection.execute(
        "SELECT coalesce(sum(in_flight), 0) FROM api_key WHERE account_id = ?", (account.id,)
    ).fetchone()
    return _usage(account, day, row or (0, 0, 0, 0), in_flight)


def usages(connection: Connection, day: int, name: str | None = None) -> list[tuple[Account, Usage, int]]:
    """Every account by name (or one), with its ``day`` and how many active keys it has: three statements in all.

    LookupError if there is no such account.
    """
    wanted = accounts(connection) if name is None else [account_named(connection, name)]
    only = None if name is None else wanted[0].id
    days = {row[0]: row[1:] for row in connection.execute(_DAYS, (day, only))}
    keys = {row[0]: row[1:] for row in connection.execute(_KEYS, (only,))}
    found = []
    for account in wanted:
        in_flight, active = keys.get(account.id, (0, 0))
        found.append((account, _usage(account, day, days.get(account.id, (0, 0, 0, 0)), in_flight), active))
    return found


def _usage(account: Account, day: int, row: tuple[int, int, int, int], in_flight: int) -> Usage:
    posted_input, posted_output, reserved_input, reserved_output = row
    return Usage(
        account=account.name,
        day=iso(day),
        input={"used": posted_input, "reserved": reserved_input, "cap": account.daily_input},
        output={"used": posted_output, "reserved": reserved_output, "cap": account.daily_output},
        credited=account.credited,
        spent=account.spent,
        reserved_usd=account.reserved,
        unlimited=account.unlimited,
        in_flight=in_flight,
    )
