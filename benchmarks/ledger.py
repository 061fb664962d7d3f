"""``python -m benchmarks ledger``: reserve + settle through the real writer, and the same on a file with a long past.

Every client reserves a prepaid request, extends nothing, settles it, and reserves the next: no proxy, no HTTP. Time is
the process's own CPU (all threads) and the wall; latency is that of ``reserve``, which waits for a durable commit.
``--ledger postgresql://…`` measures a database instead (an empty one: it is left with what was done in it).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import uvloop

from streamrouter.bench.stats import quantile_ms
from streamrouter.clock import SystemClock
from streamrouter.config.place import is_database
from streamrouter.config.schema import LedgerConfig
from streamrouter.ids import request_id
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Reserve
from streamrouter.policy.endings import Ending
from streamrouter.policy.money import Price

PRICE = Price(150_000, 600_000, 75_000)
ENDING = Ending(reason="finished", source="upstream", input_tokens=100, output_tokens=200, upstream="main")
IN_FLIGHT = (1, 8, 32, 128)
KEYS = 8


class Measured(NamedTuple):
    """One run."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    operations_per_commit: float


def reserve(key_id: str) -> Reserve:
    """A prepaid stream of at most 500 tokens."""
    return Reserve(
        id=request_id(time.time_ns()),
        key_id=key_id,
        model="gpt-5.4-mini",
        surface="main",
        input_tokens=100,
        limit=500,
        requested=500,
        n=1,
        price=PRICE,
        prepaid=True,
        stream=True,
        exact=True,
    )


async def opened(path: str, durability: Literal["full", "normal"]) -> Ledger:
    """The ledger with an account that can pay for everything, and keys for its clients."""
    ledger = await Ledger.open(
        path, config=LedgerConfig(durability=durability), clock=SystemClock(), on_fatal=lambda why: os._exit(70)
    )
    if not await ledger.accounts():
        await ledger.create_account("bench", {"daily_output": 1 << 50, "requests_per_minute": 60_000_000})
        await ledger.credit("bench", [("payment", 1 << 60)])
        for _ in range(KEYS):
            await ledger.create_key("bench", "main", "sk-", None, None)
    return ledger


async def measure(ledger: Ledger, in_flight: int, requests: int) -> Measured:
    """``requests`` requests by ``in_flight`` clients."""
    keys = [key.id for key in await ledger.keys()]
    left, latencies = requests, []
    commits = operations = 0
    commit = ledger._writer._commit

    async def counted(batch: list[Any]) -> Any:
        nonlocal commits, operations
        commits, operations = commits + 1, operations + len(batch)
        return await commit(batch)

    async def client(key_id: str) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            hold = await ledger.reserve(reserve(key_id))
            latencies.append(time.perf_counter() - began)
            ledger.settle(hold, ENDING)

    ledger._writer._commit = counted
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(keys[number % KEYS]) for number in range(in_flight)))
    await ledger.usage("bench")  # behind every settlement
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    ledger._writer._commit = commit
    return Measured(
        requests / wall,
        used / requests * 1e6,
        quantile_ms(latencies, 0.5),
        quantile_ms(latencies, 0.99),
        operations / max(commits, 1),
    )


async def table(place: str, requests: int) -> None:
    """Every durability and number in flight. ``place``: a folder for files, or a database."""
    print(f"{'':<8}{'in flight':>10}{'req/s':>10}{'CPU µs':>9}{'reserve p50':>13}{'p99 ms':>9}{'ops/commit':>12}")
    for durability in ("full", "normal"):
        ledger = await opened(place if is_database(place) else str(Path(place, f"{durability}.db")), durability)
        await measure(ledger, 32, 2000)
        for in_flight in IN_FLIGHT:
            m = await measure(ledger, in_flight, max(1000, requests // 8) if in_flight == 1 else requests)
            print(
                f"{durability:<8}{in_flight:>10}{m.per_s:>10,.0f}{m.cpu_us:>9.1f}{m.p50_ms:>13.3f}{m.p99_ms:>9.2f}"
                f"{m.operations_per_commit:>12.1f}"
            )
        await ledger.close()


def grow(path: str, holds: int) -> None:
    """A past of ``holds`` closed requests, each a copy of one that the ledger made, spread over the days before."""
    raw = sqlite3.connect(path, isolation_level=None)
    columns = [row[1] for row in raw.execute("PRAGMA table_info(hold)")]
    values = {"id": "'req_0' || printf('%025d', n)", "day": "h.day - 1 - n % 300"}
    picked = ", ".join(values.get(name, f"h.{name}") for name in columns)
    raw.executescript(f"""
        PRAGMA synchronous = OFF;
        BEGIN;
        CREATE TEMP TABLE one AS SELECT * FROM hold WHERE state = 'settled' LIMIT 1;
        INSERT INTO hold WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < {holds})
            SELECT {picked} FROM count, one AS h;
        INSERT INTO usage_model SELECT account_id, day, key_id, model, count(*), sum(s_input), sum(s_output),
            sum(s_cached), sum(s_reasoning), sum(cost), sum(s_usd), sum(over_input), sum(over_output)
            FROM hold WHERE day < (SELECT day FROM one) GROUP BY account_id, day, key_id, model;
        INSERT INTO usage_day SELECT account_id, day, sum(input), sum(output), 0, 0, sum(requests) FROM usage_model
            WHERE day < (SELECT day FROM one) GROUP BY account_id, day;
        UPDATE account SET spent = (SELECT sum(spent) FROM usage_model);
        COMMIT;""")  # noqa: S608 - numbers and names of our own
    raw.close()


async def compare(folder: str, holds: int, rounds: int, requests: int) -> None:
    """The same load on an empty file and on one with ``holds`` closed requests, in turns."""
    paths = {"empty": str(Path(folder, "empty.db")), "long past": str(Path(folder, "past.db"))}
    for path in paths.values():
        ledger = await opened(path, "full")
        await measure(ledger, 8, 500)
        await ledger.close()
    grow(paths["long past"], holds)
    ledgers = {name: await opened(path, "full") for name, path in paths.items()}
    print(f"\n{holds:,} closed requests: {os.path.getsize(paths['long past']) / 1e6:,.0f} MB")
    for in_flight in (1, 32):
        found: dict[str, list[Measured]] = {name: [] for name in paths}
        for number in range(rounds):
            for name in sorted(paths, reverse=bool(number % 2)):  # in turns: a machine's mood is not the file's size
                found[name].append(await measure(ledgers[name], in_flight, requests // (16 if in_flight == 1 else 4)))
        pairs = list(zip(found["empty"], found["long past"], strict=True))
        p50 = statistics.median(two.p50_ms / one.p50_ms for one, two in pairs)
        cpu = statistics.median(two.cpu_us / one.cpu_us for one, two in pairs)
        empty, past = (statistics.median(m.p50_ms for m in found[name]) for name in ("empty", "long past"))
        print(
            f"{in_flight:>4} in flight: reserve p50 {empty:.3f} ms empty, {past:.3f} ms long past; "
            f"by pairs {(p50 - 1) * 100:+.1f} %, CPU {(cpu - 1) * 100:+.1f} %"
        )
    for ledger in ledgers.values():
        await ledger.close()


async def run(requests: int, holds: int, rounds: int, ledger: str | None) -> None:
    """Both, or the table of a database."""
    if ledger is not None:
        await table(ledger, requests)
        return
    with tempfile.TemporaryDirectory() as folder:
        await table(folder, requests)
        if holds:
            await compare(folder, holds, rounds, requests)


@click.command()
@click.option("--requests", type=click.IntRange(8), default=20_000, show_default=True, help="Per line of the table.")
@click.option(
    "--holds", type=click.IntRange(0), default=1_000_000, show_default=True, help="Of the long past; 0: none."
)
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Pairs of runs.")
@click.option("--ledger", metavar="URL", help="A Postgres database to measure, instead of files.")
def command(requests: int, holds: int, rounds: int, ledger: str | None) -> None:
    """Reserve and settle through the real writer; then the same on a file with a long past."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(requests, holds, rounds, ledger))


if __name__ == "__main__":
    command()
