"""What the benchmarks measure does start, answer, and add up: a real streamrouter before a real upstream."""

from __future__ import annotations

from pathlib import Path

from benchmarks.compare import open_streams, send
from benchmarks.gateways import Running
from benchmarks.proc import stop
from benchmarks.proxy import start_proxy, start_upstream
from benchmarks.results import Load, loads
from streamrouter.bench.load import Plan


def test_each_load_goes_through(tmp_path: Path) -> None:
    upstream, upstream_port = start_upstream(str(tmp_path))
    try:
        proxy, port, key = start_proxy(str(tmp_path), upstream_port)
        try:
            running = Running(proxy, f"http://127.0.0.1:{port}/v1", key)
            plan = Plan(clients=2, requests=4, thorough=True)
            for load in loads(0.04):
                tally = send(running, load, plan).tally
                assert (dict(tally.errors), tally.tokens) == ({}, 4 * load.tokens)
                assert tally.events == (4 * (load.tokens + 3) if load.stream else 0)
            brief = Load("open", "", "paced-20", True, 5, "event", Plan(clients=3, requests=3))
            memory = open_streams("ours", running, brief, lambda plan, watch: send(running, brief, plan, watch))
            assert (memory.streams, memory.failed) == (3, 0)
            assert memory.rest_mb > 20
        finally:
            stop(proxy)
    finally:
        stop(upstream)
    assert proxy.returncode == 0
