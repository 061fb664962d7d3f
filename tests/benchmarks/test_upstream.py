"""The raw upstream: what it plays for which request. Its faults are in the load client's tests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from benchmarks.upstream import FAULTS, PROMPT_TOKENS, WORDS, Playing, content_length, script_of
from streamrouter.bench.load import Plan, run_load
from streamrouter.bench.target import call_body, target
from streamrouter.policy.encodings import load
from streamrouter.policy.tokens import count_text
from tests.bench.conftest import serving
from tests.bench.conftest import upstream as upstream  # a running one


def script(**call: object) -> bytes:
    return script_of(json.dumps(call).encode(), Playing()).first


def test_an_event_is_as_large_as_a_real_one() -> None:
    burst = script(model="burst", stream=True, max_tokens=100)
    events = [line for line in burst.split(b"\r\n") if line.startswith(b"data: {")]
    assert len(events) == 102  # no usage was asked for
    assert 200 <= len(events[50]) <= 250
    assert json.loads(events[50][6:])["choices"][0]["delta"]["content"]


def test_paces_and_faults_are_in_the_models_name() -> None:
    assert script_of(b'{"model":"paced-50","stream":true}', Playing()).pace_s == 0.05
    assert script_of(b'{"model":"paced-x","stream":true}', Playing(0.01)).pace_s == 0.01
    for fault in FAULTS:
        found = script_of(json.dumps({"model": f"fault-{fault}", "stream": True}).encode(), Playing())
        assert found.fault == fault or found.first.startswith(b"HTTP/1.1 " + fault.encode())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"model":"m","max_tokens":"x"}', b'{"model":"m","stream_options":1}']
)
def test_what_is_no_completion_gets_a_404(body: bytes) -> None:
    assert script_of(body, Playing()).first.startswith(b"HTTP/1.1 404")


def test_the_length_of_a_request() -> None:
    assert content_length(b"POST / HTTP/1.1\r\ncontent-LENGTH: 12\r\n\r\n") == 12
    assert content_length(b"GET / HTTP/1.1\r\nContent-Length: 7\r\n\r\n") == 7
    assert content_length(b"GET / HTTP/1.1\r\n\r\n") == 0


def test_health_and_models(upstream: str) -> None:
    root = upstream.removesuffix("/v1")
    for url, member in ((f"{root}/health", None), (f"{upstream}/models", "data")):
        with urllib.request.urlopen(url, timeout=5) as page:
            assert member is None or member in json.load(page)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{root}/other", timeout=5)


def test_a_request_in_pieces(upstream: str) -> None:
    long = "x" * 300_000  # more than one read
    body = call_body("burst", prompt=long, stream=True, max_tokens=2)
    outcome = run_load(target(upstream, body, stream=True), Plan(clients=1, requests=2))
    assert (outcome.tally.events, dict(outcome.tally.errors)) == (10, {})


def test_every_nth_request_can_fail() -> None:
    playing = Playing(0.001, "truncated", 3)
    with serving(playing) as url:
        outcome = run_load(
            target(url, call_body("m", stream=True, max_tokens=1), stream=True), Plan(clients=1, requests=9)
        )
    assert dict(outcome.tally.errors) == {"truncated": 3}


def test_usage_is_what_our_tokenizer_says() -> None:
    """Otherwise the comparison would measure how a disagreement is settled."""
    encoding = load("o200k_base")
    told = json.loads(script(model="whole", max_tokens=60).partition(b"\r\n\r\n")[2])
    assert count_text(encoding, told["choices"][0]["message"]["content"]) == told["usage"]["completion_tokens"] == 60
    messages = json.loads(call_body("m", stream=False, max_tokens=1))["messages"]
    assert sum(count_text(encoding, each["content"]) + 4 for each in messages) + 3 == PROMPT_TOKENS
    assert all(count_text(encoding, word) == 1 for word in WORDS)
