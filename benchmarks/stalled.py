"""``python -m benchmarks.stalled``: a thousand clients ask for a stream and stop reading.

Each stream's upstream writes as fast as it is let. What must be seen: the upstream is held back, memory grows by no
more than what the sockets and 64 KiB per stream hold, every client is gone ``stalled_client_s`` (30 s) after it took
the last byte, and memory and descriptors come back. Prints one JSON object; exits 1 on a miss.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.__main__ import cpu_s, rss_mb, start_proxy, start_upstream
from benchmarks.load import quantile
from benchmarks.soak import POOLED_S, Clients, Vitals, back_to, vitals

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
MOST_LEFT_MB = 100.0  # of the growth, once all are gone: the allocator keeps some
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


async def stalled(directory: str, count: int) -> int:
    books = Path(directory, "books.jsonl")
    upstream, upstream_port = start_upstream("benchmarks.faulty", str(books))
    proxy, port, key = start_proxy(directory, upstream_port, CONFIG)
    opened: list[socket.socket] = []
    try:
        warm = Clients(port, key, 0.5, 1, (0, 0))
        await warm.run(4)
        await asyncio.sleep(POOLED_S)
        base, base_mb, cpu = vitals(proxy.pid, port), rss_mb(proxy.pid), cpu_s(proxy.pid)
        watching = asyncio.create_task(watch(proxy.pid, port, 120))
        opened = await stall(port, warm.request("flood", 0, most=100_000), count)
        highest, most = await watching
        used = cpu_s(proxy.pid) - cpu
        after = await back_to(base, proxy.pid, port)
        await asyncio.sleep(TRIMMED_S)
        return report(books, count, (base, after), (base_mb, highest, rss_mb(proxy.pid)), most, used)
    finally:
        for sock in opened:
            sock.close()
        proxy.terminate()
        proxy.wait(15)
        upstream.kill()
        upstream.wait()


def report(
    books: Path, count: int, vital: tuple[Vitals, Vitals], memory: tuple[float, float, float], most: int, cpu: float
) -> int:
    """Print the summary; 1 if anything is not as it must be."""
    kept = [book for book in map(json.loads, books.read_text().splitlines()) if book["kind"] == "flood"]
    waited = [book["blocked_s"] for book in kept]
    base, after = vital
    base_mb, highest_mb, after_mb = memory
    checks = {
        "all were there, and all are gone": most == len(kept) == count and after.streams == 0,
        "each within 31 s": max(waited, default=GONE_S + 1) <= GONE_S,
        "memory is bounded": highest_mb - base_mb <= MOST_GROWTH_MB,
        "memory is back": after_mb - base_mb <= MOST_LEFT_MB,
        "descriptors are back": after.descriptors <= base.descriptors,
    }
    summary = {
        "ok": all(checks.values()),
        "clients": count,
        "at_once": most,
        "gone_s": {"p50": round(quantile(waited, 0.5) / 1000, 2), "most": round(max(waited, default=0.0), 2)},
        "rss_mb": {"base": round(base_mb), "most": round(highest_mb), "after": round(after_mb)},
        "events_written_by_each_upstream": {"p50": quantile([b["sent"] for b in kept], 0.5) / 1000},
        "proxy_cpu_s": round(cpu, 2),
        "base": base._asdict(),
        "after": after._asdict(),
        "missed": [name for name, good in checks.items() if not good],
    }
    print(json.dumps(summary, indent=1))
    return 0 if summary["ok"] else 1


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalled", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(stalled(directory, chosen.clients))


if __name__ == "__main__":
    sys.exit(main())
