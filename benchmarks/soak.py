"""``python -m benchmarks soak --seconds 600``: bad days in a row, and whether everything is as it was afterwards.

Paced streams all the time; some clients leave, some answers break off. At the end every hold is compared with the
upstream's own books and with what its client got, to the token and the nano-USD, by the rules of docs/ledger.md; the
server's memory must not have grown since it was warm, and its descriptors, threads, streams and holds must be back
where they were. Prints one JSON object; exits 1 on a miss.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sqlite3
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import click
import uvloop

from benchmarks.faulty import BROKEN, FAULTS, PROMPT, REFUSALS
from benchmarks.proc import cpu_s, rss_mb, stop
from benchmarks.proxy import start_proxy, start_upstream
from streamrouter.control import call as control

CONFIG = """
[upstreams.main]
base_url = "http://127.0.0.1:{port}/v1"
idle_s = 5.0
cooldown_s = 0.01
[models.soak]
exact = true
price = {{ input = "0.40", output = "1.60" }}
[[surface]]
billing = "prepaid"
"""
PACE_MS = 50
MOST_GROWTH_MB_PER_MIN = 1.0
POOLED_S = 20.0  # an unused upstream connection is closed after 15 s
MOST_WAIT_S = 60.0  # for the pools of both sides to empty, at the end
PARTIAL = {"reset", "cut", "truncated", "stall", *BROKEN}
REQUEST_ID = re.compile(rb"x-request-id: (\S+)", re.IGNORECASE)


class Seen(NamedTuple):
    """What one client saw of its request."""

    id: str
    left: bool
    tokens: int
    done: bool


class Vitals(NamedTuple):
    """What a process holds, from /proc and its metrics."""

    descriptors: int
    threads: int
    streams: int


def vitals(pid: int, port: int) -> Vitals:
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))  # first: the page's own connection is one for a moment
    threads = re.search(r"Threads:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        streams = re.search(rb"^streamrouter_active_streams (\S+)", page.read(), re.MULTILINE)
    assert threads is not None and streams is not None
    return Vitals(descriptors, int(threads[1]), int(float(streams[1])))


def slope(samples: list[tuple[float, float]]) -> float:
    """The least-squares line through (seconds, MB), in MB per minute."""
    mean_t = sum(t for t, _ in samples) / len(samples)
    mean_m = sum(m for _, m in samples) / len(samples)
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return 60 * sum((t - mean_t) * (m - mean_m) for t, m in samples) / spread if spread else 0.0


class Clients:
    """``count`` clients, each with one stream after another until ``seconds`` are over."""

    def __init__(self, port: int, key: str, seconds: float, seed: int, shares: tuple[float, float]) -> None:
        self.seen: list[Seen] = []
        self.sent = 0
        self._port = port
        self._key = key
        self._leave, self._fault = shares
        self._until = time.monotonic() + seconds
        self._random = random.Random(seed)

    async def run(self, count: int) -> None:
        await asyncio.gather(*(self._client(i * 2 / count) for i in range(count)))

    async def _client(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        writer: asyncio.StreamWriter | None = None
        while time.monotonic() < self._until:
            if writer is None or writer.is_closing():
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            if not await self._one(reader, writer):
                writer.transport.abort()
                writer = None
        if writer is not None:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether its connection can take another."""
        chance, tokens = self._random.random(), self._random.randrange(20, 180)
        leaves = tokens // 3 if chance < self._leave else 0
        breaks = self._leave <= chance < self._leave + self._fault
        kind = self._random.choice(FAULTS if breaks else ("told", "told", "untold"))
        writer.write(self.request(kind, tokens))
        self.sent += 1
        got = b""
        while piece := await reader.read(65536):
            got += piece
            if leaves and got.count(b'" token"') >= leaves:
                break
            if got.endswith(b"\r\n0\r\n\r\n") or not got.startswith(b"HTTP/1.1 200"):
                break
        found = REQUEST_ID.search(got)
        name = found[1].decode() if found else ""
        self.seen.append(Seen(name, leaves > 0, got.count(b'" token"'), b"data: [DONE]" in got))
        return got.endswith(b"\r\n0\r\n\r\n")

    def request(self, kind: str, tokens: int, most: int = 200) -> bytes:
        """What asks for an answer of that kind, of at most ``most`` tokens."""
        metadata = {"kind": kind, "tokens": str(tokens), "pace_ms": str(PACE_MS)}
        messages = [{"role": "user", "content": "Say hello."}]
        call = {"model": "soak", "stream": True, "max_tokens": most, "messages": messages, "metadata": metadata}
        body = json.dumps(call).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def misses(row: dict[str, Any], seen: Seen, book: dict[str, Any]) -> list[str]:
    """What is wrong with one hold, by what is charged for how it ended."""
    kind, sent = book["kind"], book["sent"]
    charged = (row["state"], row["usage_source"], row["s_input"], row["s_output"])
    if seen.left:
        right = charged[:3] == ("settled", "abort", PROMPT) and seen.tokens <= row["s_output"] <= sent
    elif kind in REFUSALS:
        right = charged == ("released", "none", 0, 0)
    elif kind in PARTIAL:  # a reset may take what the kernel still held with it
        right = charged == ("settled", "partial", PROMPT, seen.tokens) and not seen.done
        right = right and (seen.tokens == sent or (kind == "reset" and seen.tokens < sent))
    else:
        source = {"untold": "local", "suspect": "suspect"}.get(kind, "upstream")
        right = charged == ("settled", source, PROMPT, sent) and seen.tokens == sent and seen.done
    cost = -(-(row["s_input"] * 400_000 + row["s_output"] * 1_600_000) // 1000)
    right = right and row["cost"] == row["s_usd"] == cost and (row["over_input"], row["over_output"]) == (0, 0)
    return [] if right else [f"{kind}: {charged}, client {seen}, upstream {book}"]


def audit(ledger: str, clients: Clients, books: Path) -> tuple[list[str], dict[str, int]]:
    """Every hold, client and book against the others; the faults found and the totals."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM hold")}
    connection.close()
    kept = {book["id"]: book for book in map(json.loads, books.read_text().splitlines())}
    seen = {each.id: each for each in clients.seen}
    found = [] if rows.keys() == kept.keys() == seen.keys() and len(seen) == clients.sent else ["ids differ"]
    for name in rows.keys() & kept.keys() & seen.keys():
        found += misses(rows[name], seen[name], kept[name])
    usage = control(ledger, "usage", {"user": "default"})
    sums = {name: sum(row[name] for row in rows.values()) for name in ("s_input", "s_output", "s_usd")}
    if (usage["input"]["used"], usage["output"]["used"]) != (sums["s_input"], sums["s_output"]):
        found.append(f"the day's usage is not the sum of its holds: {usage}")
    if usage["in_flight"] or usage["input"]["reserved"] or usage["output"]["reserved"]:
        found.append(f"something is still reserved: {usage}")
    if not control(ledger, "ledger.check", {})["ok"]:
        found.append("ledger check")
    totals = {
        "requests": len(rows),
        "left": sum(each.left for each in seen.values()),
        "faults": sum(book["kind"] in FAULTS for book in kept.values()),
        "open_holds": sum(row["state"] == "open" for row in rows.values()),
        "input_tokens": sums["s_input"],
        "output_tokens": sums["s_output"],
        "nano_usd": sums["s_usd"],
    }
    found += ["open holds"] if totals["open_holds"] else []
    return found, totals


def back(now: Vitals, base: Vitals) -> bool:
    """Threads are not asked for: a thread pool keeps the ones that it has."""
    return now.descriptors <= base.descriptors and now.streams <= base.streams


async def back_to(base: Vitals, pid: int, port: int) -> Vitals:
    """Wait until the process holds no more than ``base``."""
    end = time.monotonic() + MOST_WAIT_S
    while True:
        now = await asyncio.to_thread(vitals, pid, port)
        if back(now, base) or time.monotonic() > end:
            return now
        await asyncio.sleep(0.5)


async def watch(pid: int, samples: list[tuple[float, float]]) -> None:
    while True:
        samples.append((time.monotonic(), rss_mb(pid)))
        await asyncio.sleep(1)


async def soak(directory: str, seconds: float, streams: int, seed: int, shares: tuple[float, float]) -> int:
    books = Path(directory, "books.jsonl")
    upstream, upstream_port = start_upstream(directory, "benchmarks.faulty", str(books))
    proxy, port, key = start_proxy(directory, upstream_port, CONFIG)
    ledger = str(Path(directory, "ledger.db"))
    try:
        control(ledger, "topup", {"user": "default", "amount": "100000"})
        warm = Clients(port, key, 0.5, seed, (0, 0))
        await warm.run(4)  # libraries and the tokenizer are loaded
        await asyncio.sleep(POOLED_S)
        base = vitals(proxy.pid, port)
        clients, samples = Clients(port, key, seconds, seed + 1, shares), list[tuple[float, float]]()
        clients.seen, clients.sent = warm.seen, warm.sent
        began, cpu = time.monotonic(), cpu_s(proxy.pid)
        watching = asyncio.create_task(watch(proxy.pid, samples))
        await clients.run(streams)
        watching.cancel()
        wall_s, used_s = time.monotonic() - began, cpu_s(proxy.pid) - cpu
        after = await back_to(base, proxy.pid, port)
        return report(ledger, clients, books, (base, after), samples, (wall_s, used_s))
    finally:
        stop(proxy)
        stop(upstream)


def report(
    ledger: str,
    clients: Clients,
    books: Path,
    vital: tuple[Vitals, Vitals],
    samples: list[tuple[float, float]],
    used: tuple[float, float],
) -> int:
    """Print the summary; 1 if anything is not as it must be."""
    found, totals = audit(ledger, clients, books)
    base, after = vital
    warm = samples[len(samples) // 3 :]
    growth = slope(warm)
    if growth > MOST_GROWTH_MB_PER_MIN:
        found.append(f"memory grows by {growth:.2f} MB/min")
    if not back(after, base):
        found.append(f"not back: {after}, was {base}")
    summary = {
        "ok": not found,
        "seconds": round(used[0]),
        **totals,
        "proxy_cpu_percent": round(100 * used[1] / used[0], 1),
        "rss_mb": {"first": samples[0][1], "warm": warm[0][1], "last": warm[-1][1], "most": max(m for _, m in samples)},
        "rss_mb_per_min": round(growth, 3),
        "base": base._asdict(),
        "after": after._asdict(),
        "misses": len(found),
        "first_misses": found[:10],
        "kinds": dict(Counter(json.loads(line)["kind"] for line in books.read_text().splitlines())),
    }
    print(json.dumps(summary, indent=1))
    return 1 if found else 0


@click.command()
@click.option("--seconds", type=click.FloatRange(5), default=600.0, show_default=True)
@click.option("--streams", type=click.IntRange(1), default=200, show_default=True, help="At once.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--leave", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Clients that leave.")
@click.option("--fault", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Answers that break.")
def command(seconds: float, streams: int, seed: int, leave: float, fault: float) -> None:
    """Bad days in a row; prints one JSON object, exit code 1 if anything is not as it must be."""
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        sys.exit(runner.run(soak(directory, seconds, streams, seed, (leave, fault))))


if __name__ == "__main__":
    command()
