"""``python -m benchmarks``: the same load straight to an upstream and through streamrouter, all features on.

CPU microseconds of the proxy's process per unit of work (from /proc), and latency beside the same load sent direct.
Rounds are interleaved because machines are shared: read the ratios within one run, not the absolute times of two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.load import Result, load, quantile, request_bytes

CONFIG = """
[upstreams.main]
base_url = "http://127.0.0.1:{port}/v1"
[models.paced]
exact = true
[models.burst]
exact = true
[models.whole]
exact = true
[[surface]]
"""


class Scenario(NamedTuple):
    """A load: what is asked, by how many, and what a unit of work is."""

    name: str
    model: str
    stream: bool
    clients: int
    each: int
    tokens: int
    unit: str


def scenarios(scale: float) -> list[Scenario]:
    """The three numbers that matter for a streaming proxy."""
    return [
        Scenario("paced stream", "paced", True, int(200 * scale), 1, 250, "event"),
        Scenario("burst stream of 100", "burst", True, 8, int(150 * scale), 100, "request"),
        Scenario("whole answer", "whole", False, 8, int(400 * scale), 100, "request"),
    ]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def start_upstream(module: str = "benchmarks.upstream", *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A raw upstream in a process of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", module, str(port), *arguments])
    for _ in range(100):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.05)
    raise RuntimeError("the upstream did not start")


def start_proxy(directory: str, upstream_port: int, text: str = CONFIG) -> tuple[subprocess.Popen[str], int, str]:
    """streamrouter with a durable ledger in ``directory``; its port and first key. ``text``: its configuration."""
    config = Path(directory, "streamrouter.toml")
    config.write_text(text.format(port=upstream_port))
    command = [sys.executable, "-m", "streamrouter", "serve", "--port", "0", "--config", str(config), "--json"]
    command += ["--ledger", str(Path(directory, "ledger.db"))]
    with Path(directory, "log.jsonl").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "Try" in line:
            break
    text = "".join(lines)
    port, key = re.search(r"API\s+http://[^:]+:(\d+)/", text), re.search(r"Key\s+(\S+)", text)
    if port is None or key is None:
        raise RuntimeError(f"streamrouter did not start: {text}")
    return process, int(port.group(1)), key.group(1)


def run(scenario: Scenario, port: int, key: str) -> Result:
    """One round of a scenario."""
    request = request_bytes(
        f"127.0.0.1:{port}",
        "/v1/chat/completions",
        key,
        scenario.model,
        stream=scenario.stream,
        tokens=scenario.tokens,
    )
    spread_s = 1.0 if scenario.model == "paced" else 0.0
    work = load(port, request, clients=scenario.clients, each=scenario.each, stream=scenario.stream, spread_s=spread_s)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def compare(rounds: int, scale: float) -> int:
    """Print the table; 1 if any request failed."""
    upstream, upstream_port = start_upstream()
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        proxy, port, key = start_proxy(directory, upstream_port)
        try:
            run(Scenario("warm-up", "burst", True, 4, 10, 20, ""), port, key)
            columns = f"{'TTFT p50 / p99':>18}{'direct':>16}{'gap p99':>12}{'direct':>9}"
            print(f"{'load':<22}{'CPU µs':>9} {'per':<9}{columns}   (ms)")
            for scenario in scenarios(scale):
                for _ in range(rounds):
                    direct = run(scenario, upstream_port, "")
                    before = cpu_s(proxy.pid)
                    through = run(scenario, port, key)
                    time.sleep(0.1)
                    used = cpu_s(proxy.pid) - before
                    units = through.events if scenario.unit == "event" else through.requests
                    failed += through.errors + direct.errors
                    print(
                        f"{scenario.name:<22}{used / units * 1e6:>9.1f} {scenario.unit:<9}"
                        f"{_pair(through.ttft_s):>18}{_pair(direct.ttft_s):>16}"
                        f"{quantile(through.gaps_s, 0.99):>12.1f}{quantile(direct.gaps_s, 0.99):>9.1f}"
                    )
            print(f"memory {rss_mb(proxy.pid):.0f} MB, failed requests {failed}")
        finally:
            proxy.terminate()
            proxy.wait(15)
            upstream.kill()
            upstream.wait()
    return 1 if failed else 0


def _pair(values: list[float]) -> str:
    return f"{quantile(values, 0.5):.1f} / {quantile(values, 0.99):.1f}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the usual load (1.0: about a minute)")
    chosen = parser.parse_args()
    return compare(chosen.rounds, chosen.scale)


if __name__ == "__main__":
    sys.exit(main())
