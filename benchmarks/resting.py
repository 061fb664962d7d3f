"""Two smaller questions: what an open stream costs in memory, and how long a start takes."""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.compare import open_streams, send
from benchmarks.gateways import Gateway, Running
from benchmarks.proc import rss_mb, stop
from benchmarks.proxy import start_proxy, start_upstream
from benchmarks.results import Load, Memory
from streamrouter.bench.load import Plan, run_load
from streamrouter.bench.target import call_body, target

OPEN = (100, 500, 1000)
PACE_MS = 1000
WARM_UP = Plan(clients=8, requests=40, thorough=True)
POLL_S = 0.002


def memory(gateways: Sequence[Gateway], counts: Sequence[int], say: Callable[[str], None]) -> list[Memory]:
    """Each number of open streams on a process that has just been started and warmed up with 8."""
    found = []
    for gateway in gateways:
        for count in counts:
            with _running(gateway) as running:
                measured = _opened(gateway.name, running, count)
            found.append(measured)
            say(
                f"{gateway.name:<14}{count:>6} streams  {measured.kib_per_stream:>7.1f} KiB each, "
                f"at rest {measured.rest_mb:.0f} MB, {measured.failed} failed"
            )
    return found


@contextmanager
def _running(gateway: Gateway) -> Iterator[Running]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process, port = start_upstream(str(directory))
        stack.callback(stop, process)
        running = gateway.start(directory, port)
        stack.callback(stop, running.process)
        yield running


def _opened(name: str, running: Running, count: int) -> Memory:
    send(running, Load("warm", "", "burst", True, 100, "request", WARM_UP), WARM_UP)
    ramp_s = max(2.0, count / 200)
    plan = Plan(clients=count, requests=count, ramp_s=ramp_s)
    tokens = round((ramp_s + 2.0) * 1000 / PACE_MS)
    load = Load("open", "", f"paced-{PACE_MS}", True, tokens, "event", plan)
    return open_streams(name, running, load, lambda plan, watch: send(running, load, plan, watch))


class Start(msgspec.Struct, frozen=True):
    """Seconds from the process's start, and MB at rest once it has streamed."""

    healthy_s: float
    streamed_s: float
    rest_mb: float


def starts(times: int, say: Callable[[str], None]) -> list[Start]:
    """``times`` cold starts on a new ledger each, the files in the page cache."""
    found = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process, port = start_upstream(str(directory))
        stack.callback(stop, process)
        for number in range(times):
            own = directory / str(number)
            own.mkdir()
            found.append(_start(own, port))
            say(f"healthy after {found[-1].healthy_s:.3f} s, streamed after {found[-1].streamed_s:.3f} s")
    say(f"medians: {median(s.healthy_s for s in found):.3f} s, {median(s.streamed_s for s in found):.3f} s")
    return found


def _start(directory: Path, upstream: int) -> Start:
    began = time.monotonic()
    process, port, key = start_proxy(str(directory), upstream)
    try:
        while not _healthy(port):
            time.sleep(POLL_S)
        healthy = time.monotonic() - began
        body = call_body("burst", stream=True, max_tokens=1)
        aim = target(f"http://127.0.0.1:{port}/v1", body, stream=True, key=key)
        outcome = run_load(aim, Plan(clients=1, requests=1))
        if outcome.tally.errors:
            raise RuntimeError(f"the first stream failed: {dict(outcome.tally.errors)}")
        streamed = healthy + outcome.tally.first_s[0]
        return Start(round(healthy, 3), round(streamed, 3), round(rss_mb(process.pid), 1))
    finally:
        stop(process)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
