"""``python -m benchmarks stalled``: a thousand clients ask for a stream and stop reading.

Each stream's upstream writes as fast as it is let. What must be seen: the upstream is held back, memory grows by no
more than what the sockets and 64 KiB per stream hold, every client is gone ``stalled_client_s`` (30 s) after it took
the last byte, and memory and descriptors come back. Prints one JSON object; exits 1 on a miss.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
import uvloop

from benchmarks.proc import cpu_s, rss_mb, stop
from benchmarks.proxy import start_proxy, start_upstream
from benchmarks.soak import POOLED_S, Clients, Vitals, back_to, vitals
from streamrouter.bench.stats import quantile_ms

CONFIG = """
[upstreams.main]
base_url = "http://127.0.0.1:{port}/v1"
cooldown_s = 0.01
[models.soak]
exact = true
context_length = 2_000_000
max_output_tokens = 1_000_000
[[surface]]
"""
GONE_S = 31.0
TRIMMED_S = 62.0  # free memory is given back once a minute
MOST_GROWTH_MB = 300.0
FLOODS = 2
MOST_LEFT_MB = 50.0  # of the growth, once all are gone: Python keeps arenas of which one object is alive
MOST_MORE_MB = 10.0  # after a second flood: what was kept is used, nothing leaks
RECEIVE_BYTES = 4096


async def stall(port: int, request: bytes, count: int) -> list[socket.socket]:
    """Connections that have asked and read nothing."""
    loop = asyncio.get_running_loop()
    opened = []
    for number in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, request)
        opened.append(sock)
        if number % 50 == 49:
            await asyncio.sleep(0.1)
    return opened


async def watch(pid: int, port: int, most_s: float) -> tuple[float, int]:
    """The highest memory in MB, and the most streams, until there are none (or ``most_s`` are over)."""
    highest, most, end = 0.0, 0, time.monotonic() + most_s
    while time.monotonic() < end:
        highest = max(highest, rss_mb(pid))
        streams = (await asyncio.to_thread(vitals, pid, port)).streams
        most = max(most, streams)
        if most and not streams:
            break
        await asyncio.sleep(0.25)
    return highest, most


class Flood(NamedTuple):
    """What one flood did: memory in MB at its worst and once free memory was given back, streams, CPU seconds."""

    highest_mb: float
    after_mb: float
    at_once: int
    cpu_s: float
    after: Vitals


async def flood(pid: int, port: int, request: bytes, count: int, base: Vitals) -> Flood:
    """Stall ``count`` clients, wait until they are gone, and for the memory's return."""
    cpu = cpu_s(pid)
    watching = asyncio.create_task(watch(pid, port, 120))
    opened = await stall(port, request, count)
    try:
        highest, most = await watching
        used = cpu_s(pid) - cpu
        after = await back_to(base, pid, port)
    finally:
        for sock in opened:
            sock.close()
    await asyncio.sleep(TRIMMED_S)
    return Flood(highest, rss_mb(pid), most, used, after)


async def stalled(directory: str, count: int) -> int:
    books = Path(directory, "books.jsonl")
    upstream, upstream_port = start_upstream(directory, "benchmarks.faulty", str(books))
    proxy, port, key = start_proxy(directory, upstream_port, CONFIG)
    try:
        warm = Clients(port, key, 0.5, 1, (0, 0))
        await warm.run(4)
        await asyncio.sleep(POOLED_S)
        base, base_mb = vitals(proxy.pid, port), rss_mb(proxy.pid)
        request = warm.request("flood", 0, most=100_000)
        floods = [await flood(proxy.pid, port, request, count, base) for _ in range(FLOODS)]
        return report(books, count, base, base_mb, floods)
    finally:
        stop(proxy)
        stop(upstream)


def report(books: Path, count: int, base: Vitals, base_mb: float, floods: list[Flood]) -> int:
    """Print the summary; 1 if anything is not as it must be."""
    kept = [book for book in map(json.loads, books.read_text().splitlines()) if book["kind"] == "flood"]
    waited = [book["blocked_s"] for book in kept]
    first, last = floods[0], floods[-1]
    checks = {
        "all were there": all(each.at_once == count for each in floods) and len(kept) == count * FLOODS,
        "all are gone": all(each.after.streams == 0 for each in floods),
        "each within 31 s": max(waited, default=GONE_S + 1) <= GONE_S,
        "memory is bounded": max(each.highest_mb for each in floods) - base_mb <= MOST_GROWTH_MB,
        "memory is back": first.after_mb - base_mb <= MOST_LEFT_MB,
        "what is left is used again": last.after_mb - first.after_mb <= MOST_MORE_MB,
        "descriptors are back": all(each.after.descriptors <= base.descriptors for each in floods),
    }
    summary = {
        "ok": all(checks.values()),
        "clients": count,
        "gone_s": {"p50": round(quantile_ms(waited, 0.5) / 1000, 2), "most": round(max(waited, default=0.0), 2)},
        "rss_mb": {"base": round(base_mb), "floods": [[round(f.highest_mb), round(f.after_mb)] for f in floods]},
        "events_written_by_each_upstream": {"p50": quantile_ms([b["sent"] for b in kept], 0.5) / 1000},
        "proxy_cpu_s": [round(each.cpu_s, 2) for each in floods],
        "base": base._asdict(),
        "after": [each.after._asdict() for each in floods],
        "missed": [name for name, good in checks.items() if not good],
    }
    print(json.dumps(summary, indent=1))
    return 0 if summary["ok"] else 1


@click.command()
@click.option("--clients", type=click.IntRange(1), default=1000, show_default=True)
def command(clients: int) -> None:
    """Clients that ask for a stream and stop reading; one JSON object, exit code 1 on a miss."""
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        sys.exit(runner.run(stalled(directory, clients)))


if __name__ == "__main__":
    command()
