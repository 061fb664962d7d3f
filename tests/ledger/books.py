"""What the ledger's tests share: a clock that is held, a book in dicts, and commands with their defaults filled in."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import count
from typing import Any

import psycopg

from streamrouter.config.place import is_database
from streamrouter.config.schema import LedgerConfig
from streamrouter.ledger import rules
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Account, Attempt, Hold, HoldRow, Key, Reserve, UsageDay, UsageModel
from streamrouter.policy.endings import Ending
from streamrouter.policy.money import Price

DAY = 20_000
NOON_NS = (DAY * 86_400 + 43_200) * 1_000_000_000
PRICE = Price(input=150_000, output=600_000, cache_read=75_000)  # pico-USD: 150 and 600 nano-USD a token
FAST = LedgerConfig(durability="normal", busy_timeout_s=0.1)
SHARED = LedgerConfig(durability="normal", busy_timeout_s=5.0)  # others may have a row: that is no fault
_numbers = count(1)


# A clock in the database, in the place of its own for whoever looks into ``public`` first.
HOLDABLE = """
    CREATE TABLE held_clock (ns bigint NOT NULL);
    INSERT INTO held_clock VALUES (0);
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
        $$SELECT timestamptz 'epoch' + ns / 1000 * interval '1 microsecond' FROM public.held_clock$$;
"""


class HeldClock:
    """A clock that moves only when told; wall and boot time can be moved apart."""

    def __init__(self, now_ns: int = NOON_NS) -> None:
        self._wall_ns = now_ns
        self.boot_s = 1000.0
        self._database: psycopg.Connection | None = None

    @property
    def wall_ns(self) -> int:
        return self._wall_ns

    @wall_ns.setter
    def wall_ns(self, now_ns: int) -> None:
        self._wall_ns = now_ns
        if self._database is not None:
            self._database.execute("UPDATE held_clock SET ns = %s", (now_ns,))

    @contextmanager
    def held(self, place: str) -> Iterator[str]:
        """The place of a ledger, with its database's clock being this one."""
        if not is_database(place):
            yield place
            return
        with closing(psycopg.connect(place, autocommit=True)) as self._database:
            self.wall_ns = self._wall_ns
            yield place + "?options=-csearch_path%3Dpublic,pg_catalog"
        self._database = None

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic(self) -> float:
        return self.boot_s

    def boottime(self) -> float:
        return self.boot_s

    def pass_s(self, seconds: float) -> None:
        self.boot_s += seconds
        self.wall_ns += round(seconds * 1e9)


class DictBook:
    """A Book in memory."""

    def __init__(self, account: Account, key: Key) -> None:
        self.accounts = {account.id: account}
        self.keys = {key.id: key}
        self.days: dict[tuple[str, int], UsageDay] = {}
        self.models: dict[tuple[str, int, str, str], UsageModel] = {}
        self.holds: dict[str, HoldRow] = {}
        self.tries: dict[tuple[str, str], list[Attempt]] = {}

    def account(self, account_id: str) -> Account | None:
        return self.accounts.get(account_id)

    def key(self, key_id: str) -> Key | None:
        return self.keys.get(key_id)

    def usage_day(self, account_id: str, day: int) -> UsageDay:
        return self.days.setdefault((account_id, day), UsageDay(account_id=account_id, day=day))

    def usage_model(self, account_id: str, day: int, key_id: str, model: str) -> UsageModel:
        index = (account_id, day, key_id, model)
        return self.models.setdefault(index, UsageModel(account_id=account_id, day=day, key_id=key_id, model=model))

    def hold(self, hold_id: str) -> HoldRow | None:
        return self.holds.get(hold_id)

    def add_hold(self, row: HoldRow) -> None:
        self.holds[row.id] = row

    def attempts(self, key_id: str, name: str) -> list[Attempt]:
        return self.tries.get((key_id, name), [])

    def add_attempt(self, attempt: Attempt) -> None:
        self.tries[attempt.key_id, attempt.name] = [attempt]


def moment(now_ns: int = NOON_NS, day: int = DAY) -> Moment:
    return Moment(now_ns=now_ns, day=day, boot=1, lease_tokens=256)


def account(**fields: Any) -> Account:
    return Account(**{"id": "acct_1", "name": "team-a", **fields})


def key(**fields: Any) -> Key:
    return Key(
        **{"id": "key_1", "account_id": "acct_1", "surface": "main", "hash": b"h", "display": "sk-…9fQ2", **fields}
    )


def book(*, of: Account | None = None, by: Key | None = None) -> DictBook:
    return DictBook(of or account(), by or key())


def command(**fields: Any) -> Reserve:
    defaults: dict[str, Any] = {
        "id": f"req_{next(_numbers):08d}",
        "key_id": "key_1",
        "model": "gpt-5.4-mini",
        "surface": "main",
        "input_tokens": 100,
        "limit": 500,
        "requested": 500,
        "n": 1,
        "price": PRICE,
        "prepaid": False,
        "stream": True,
        "exact": True,
    }
    return Reserve(**{**defaults, **fields})


def admitted(of: DictBook, **fields: Any) -> Hold:
    """The hold that a request gets."""
    outcome = rules.reserve(of, command(**fields), moment())
    assert isinstance(outcome, Hold), outcome
    return outcome


def finished(input_tokens: int = 100, output_tokens: int = 200, **fields: Any) -> Ending:
    return Ending(
        **{
            "reason": "finished",
            "source": "upstream",
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            **fields,
        }
    )


class Fatal(Exception):
    """A ledger under test said that the process must stop."""


def no_fatal(message: str) -> None:
    raise Fatal(message)


@asynccontextmanager
async def opened(path: str, clock: HeldClock | None = None, **options: Any) -> AsyncIterator[Ledger]:
    config = SHARED if is_database(path) else FAST
    settings: dict[str, Any] = {"config": config, "on_fatal": no_fatal, "ballast_bytes": 4096, **options}
    clock = clock or HeldClock()
    with clock.held(path) as place:
        ledger = await Ledger.open(place, clock=clock, **settings)
        try:
            yield ledger
        finally:
            await ledger.close()


async def with_key(ledger: Ledger, name: str = "team-a", concurrency: int | None = None, **caps: Any) -> str:
    """An account with one key; the key's id."""
    await ledger.create_account(name, caps)
    made, _ = await ledger.create_key(name, "main", "sk-", None, concurrency)
    return made.id


TABLES = (
    *("account", "api_key", "usage_day", "usage_model", "usage_archive", "hold", "idempotency", "entry", "audit"),
    *("person", "invitation", "session", "admin_token", "rollup_minute"),
)


def contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of the books by table, in an order of their own: the same books are equal, whatever keeps them."""
    found = {}
    for table in TABLES:
        cursor = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - names of our own
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        for row in rows:
            row.pop("rowid", None)
        found[table] = sorted(rows, key=lambda row: repr(sorted(row.items())))
    return found


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


async def quiet(ledger: Ledger) -> None:
    """Wait until everything put is committed, and check that the books are right."""
    assert await ledger.check() == []


def run_as_nobody(function: Callable[[], Awaitable[None]]) -> int:
    """Run ``function`` in a child that is not root; its exit code (0: it returned)."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            asyncio.run(function())  # type: ignore[arg-type]
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
