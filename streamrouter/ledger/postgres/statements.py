"""The statements of a batch of requests: rows travel as one JSON text, whatever their number, so each is one statement.

``?`` as elsewhere. What locks stands first: everything of an account (its keys, days, usage and holds) is changed by
those alone who hold the lock of its row, and is read by a later statement than the one that waited for the lock.
"""

from __future__ import annotations

from typing import Any

from streamrouter.ledger.connection import Values
from streamrouter.ledger.records import Account, HoldRow, Key, UsageDay, UsageModel
from streamrouter.ledger.sqlite_book import CLOSING, OPENING, SELECT_ACCOUNT

_GIVEN = "(SELECT json_array_elements_text(?::json))"
_LATEST = "(SELECT value FROM meta WHERE name = '{}')"
NOW_NS = "((extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000)"


def _columns(struct: type[Any], **instead: str) -> str:
    """Its columns, each as itself or as ``instead`` says."""
    return ", ".join(f"{instead[name]} AS {name}" if name in instead else name for name in struct.__struct_fields__)


def _record(struct: type[Any], names: tuple[str, ...]) -> str:
    """What JSON objects of a Struct hold, as a table ``r``."""
    kinds = {"str": "text", "Literal": "text", "bool": "boolean", "int": "bigint"}
    annotations = struct.__annotations__
    typed = (f"{name} {kinds[annotations[name].split('[')[0].split(' ')[0]]}" for name in names)
    return f"json_to_recordset(?::json) AS r({', '.join(typed)})"


def _values(struct: type[Any], names: tuple[str, ...]) -> str:
    """Its columns of ``r`` as the tables keep them."""
    return ", ".join(f"r.{name}::int" if struct.__annotations__[name] == "bool" else f"r.{name}" for name in names)


def _update(table: str, struct: type[Any], key: str, names: tuple[str, ...]) -> str:
    sets = ", ".join(f"{name} = r.{name}" for name in names)
    return f"UPDATE {table} AS t SET {sets} FROM {_record(struct, (key, *names))} WHERE t.{key} = r.{key}"  # noqa: S608


def _insert(table: str, struct: type[Any], names: tuple[str, ...]) -> str:
    columns = ", ".join(names)
    return f"INSERT INTO {table} ({columns}) SELECT {_values(struct, names)} FROM {_record(struct, names)}"  # noqa: S608


def _upsert(table: str, struct: type[Any], key: tuple[str, ...], each: str) -> str:
    rest = [name for name in struct.__struct_fields__ if name not in key]
    sets = ", ".join(f"{name} = {each.format(table=table, name=name)}" for name in rest)
    return _insert(table, struct, struct.__struct_fields__) + f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"


_KEY_JSON = _columns(Key, models="models::json", hash="encode(hash, 'base64')")
_HOLD_JSON = _columns(HoldRow, prepaid="prepaid <> 0", stream="stream <> 0", exact="exact <> 0")

# The accounts of some keys. An account's lock is the first of all, in the order of their ids.
LOCK_ACCOUNTS = (
    f"{SELECT_ACCOUNT} WHERE id IN (SELECT account_id FROM api_key WHERE id IN {_GIVEN})"  # noqa: S608 - names of our own
    " ORDER BY id FOR NO KEY UPDATE"
)
LOCK_ACCOUNT = SELECT_ACCOUNT + " WHERE id = ? FOR NO KEY UPDATE"
LOCK_ACCOUNT_NAMED = SELECT_ACCOUNT + " WHERE name = ? FOR NO KEY UPDATE"

# The database's clock, the ledger's day, how often a date was accepted, the newest line of audit.
MOMENT = (
    f"{NOW_NS}, {_LATEST.format('last_day')}, {_LATEST.format('days_accepted')},"  # noqa: S608 - here and below
    " (SELECT coalesce(max(number), 0) FROM audit)"
)
READ_MOMENT = f"SELECT {MOMENT}"
# The same, and the keys of a batch, their accounts' days from yesterday on, and holds, as JSON.
READ = f"""
    SELECT {MOMENT},
        (SELECT coalesce(json_agg(k), '[]') FROM (SELECT {_KEY_JSON} FROM api_key WHERE id IN {_GIVEN}) AS k),
        (SELECT coalesce(json_agg(d), '[]') FROM (SELECT {_columns(UsageDay)} FROM usage_day
            WHERE account_id IN (SELECT account_id FROM api_key WHERE id IN {_GIVEN})
            AND day >= {_LATEST.format("last_day")} - 1) AS d),
        (SELECT coalesce(json_agg(h), '[]') FROM (SELECT {_HOLD_JSON} FROM hold WHERE id IN {_GIVEN}) AS h)"""  # noqa: S608
READ_DAY = f"SELECT {_columns(UsageDay)} FROM usage_day WHERE account_id = ? AND day = ?"  # noqa: S608

WRITE_ACCOUNTS = _update("account", Account, "id", ("rate_tat_ns", "spent", "reserved"))
WRITE_KEYS = _update("api_key", Key, "id", ("in_flight",))
WRITE_DAYS = _upsert("usage_day", UsageDay, ("account_id", "day"), "excluded.{name}")
# Nothing asks for a row of usage before it is added to, so it is not read: what is written is what is added.
ADD_MODELS = _upsert(
    "usage_model", UsageModel, ("account_id", "day", "key_id", "model"), "{table}.{name} + excluded.{name}"
)
INSERT_HOLDS = _insert("hold", HoldRow, OPENING)
# The guard of "closed exactly once": a hold that is not open (any more) divides by zero, and nothing is committed.
# ``|| ''``: the rows are to be found by their ids, and not by way of the index of all that are open.
UPDATE_HOLDS = f"""
    WITH done AS (UPDATE hold AS t SET {", ".join(f"{name} = r.{name}" for name in CLOSING)}
        FROM {_record(HoldRow, ("id", *CLOSING))} WHERE t.id = r.id AND t.state || '' = 'open' RETURNING 1)
    SELECT 1 / (count(*) = ?)::int FROM done"""  # noqa: S608
GUARD_BROKEN = "22012"
# What a transaction leaves of itself (doubt.py). Its own number in Postgres would not do: it is not durable before the
# transaction is, and after a crash of the server another one may get it.
WITNESS = "UPDATE process SET batch = ? WHERE boot = ?"
READ_WITNESS = "SELECT batch FROM process WHERE boot = ?"
WRITE_DAY = "UPDATE meta SET value = greatest(value, ?) WHERE name = 'last_day'"

# A connection's plans are those of a batch: few rows by their keys, whatever the size of the tables was when the plan
# was made (connection.py). Whatever else reads may do as it likes.
FREELY: tuple[str, Values] = (
    "SELECT set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true),"
    " set_config('enable_mergejoin', 'on', true)",
    (),
)
# One view of everything, and no lock: whoever reads may think about it.
LOOK: list[tuple[str, Values]] = [
    ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ()),
    FREELY,
    ("SELECT set_config('idle_in_transaction_session_timeout', '600000', true)", ()),
]
IMPATIENTLY = "SELECT set_config('lock_timeout', ?, true)"
