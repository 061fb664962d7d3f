"""The load client against a server that does what its model is called: each way to load, each kind of error."""

from __future__ import annotations

import gc
import resource
import socket
import ssl
from pathlib import Path

import pytest

from streamrouter.bench.load import Load, Outcome, Plan, allow_descriptors, run_load
from streamrouter.bench.target import Target, call_body, target
from tests.bench.conftest import goodbyes
from tests.support.encrypted import certificate


def aim(url: str, model: str, *, stream: bool = True, tokens: int = 4) -> Target:
    return target(url, call_body(model, stream=stream, max_tokens=tokens), stream=stream)


def run(url: str, model: str, *, stream: bool = True, tokens: int = 4, **plan: float | int | bool | None) -> Outcome:
    return run_load(aim(url, model, stream=stream, tokens=tokens), Plan(**plan))  # type: ignore[arg-type]


def test_a_closed_loop_of_so_many_requests(upstream: str) -> None:
    outcome = run(upstream, "paced", clients=5, requests=23)
    tally = outcome.tally
    assert (tally.requests, dict(tally.errors), tally.events, tally.tokens) == (23, {}, 23 * 7, 23 * 4)
    assert (len(tally.first_s), len(tally.gaps_s), len(tally.total_s)) == (23, 23 * 6, 23)
    assert gc.isenabled()
    assert outcome.wall_s >= max(tally.total_s)


def test_bursts_and_whole_answers(upstream: str) -> None:
    tally = run(upstream, "burst", clients=2, requests=6, tokens=100).tally
    assert (tally.events, tally.tokens, dict(tally.errors)) == (6 * 103, 600, {})
    tally = run(upstream, "whole", stream=False, clients=2, requests=50).tally
    assert (tally.requests, tally.tokens, len(tally.first_s), dict(tally.errors)) == (50, 200, 50, {})


def test_a_closed_loop_for_a_while(upstream: str) -> None:
    tally = run(upstream, "paced", clients=3, duration_s=0.1).tally
    assert tally.requests >= 3
    assert not tally.errors


def test_an_open_loop_sends_when_it_is_due(upstream: str) -> None:
    seen: list[int] = []
    outcome = run_load(
        aim(upstream, "paced"),
        Plan(rate=200.0, duration_s=0.2),
        watch=lambda load: seen.append(load.in_flight),
        every_s=0.01,
    )
    assert (outcome.tally.requests, dict(outcome.tally.errors)) == (40, {})
    assert max(seen) >= 1
    assert run(upstream, "paced", rate=1000.0, requests=5).tally.requests == 5


KINDS = {
    "fault-500": "status 500",
    "fault-429": "status 429",
    "fault-truncated": "truncated",
    "fault-cut": "truncated",
    "fault-reset": "truncated",
    "fault-garbage": "malformed",
    "fault-error": "error event",
}


@pytest.mark.parametrize("rate", [None, 500.0])
@pytest.mark.parametrize(("model", "kind"), KINDS.items())
def test_each_error_is_recognised(upstream: str, model: str, kind: str, rate: float | None) -> None:
    tally = run(upstream, model, clients=2, requests=4, rate=rate).tally
    assert (tally.requests, dict(tally.errors)) == (4, {kind: 4})


@pytest.mark.parametrize("model", ["fault-stall", "fault-silent"])
def test_silence_is_a_timeout(upstream: str, model: str) -> None:
    tally = run(upstream, model, clients=2, requests=2, silence_s=0.05).tally
    assert (tally.requests, dict(tally.errors)) == (2, {"timeout": 2})


def test_nobody_there() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
        assert dict(run(url, "m", clients=2, requests=2).tally.errors) == {"refused": 2}
        assert dict(run(url, "m", rate=100.0, requests=3).tally.errors) == {"refused": 3}


def test_https(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(cert, key)
    plan = Plan(clients=1, requests=2)
    with goodbyes(served) as server:
        secure = aim(server.url.replace("http:", "https:"), "m", stream=False)
        assert dict(run_load(secure, plan, context=secure.context(ca=cert)).tally.errors) == {}
        assert dict(run_load(secure, plan, context=secure.context()).tally.errors) == {"tls": 2}


def test_a_server_without_tls() -> None:
    with goodbyes() as server:
        secure = aim(server.url.replace("http:", "https:"), "m")
        outcome = run_load(secure, Plan(clients=1, requests=1), context=secure.context(insecure=True))
    assert dict(outcome.tally.errors) == {"tls": 1}


@pytest.mark.parametrize("rate", [None, 500.0])
def test_an_idle_connection_that_had_been_closed_is_no_error(rate: float | None) -> None:
    with goodbyes() as server:
        tally = run(server.url, "m", stream=False, clients=1, requests=5, rate=rate).tally
    assert (tally.requests, dict(tally.errors), len(tally.total_s)) == (5, {}, 5)


def test_a_limit_of_open_files_is_raised_and_never_lowered() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_descriptors(8)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft
    allow_descriptors(soft + 1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft


def test_a_load_can_be_looked_at_before_it_runs(upstream: str) -> None:
    load = Load(aim(upstream, "paced"), Plan())
    assert (load.in_flight, load.tally.requests) == (0, 0)
