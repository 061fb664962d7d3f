"""Upstreams, names with several addresses, loops, and proxies in front: with a real nginx."""

from __future__ import annotations

import socket

import pytest

from streamrouter.cli.doctor import network
from streamrouter.cli.probing import Probe
from streamrouter.web.paced import PATH
from tests.cli.doctor.conftest import Proxied


def test_a_proxy_that_buffers_is_found(proxied: Proxied) -> None:
    (found,), skew_s = network.in_front(proxied.buffering)
    assert found.state == "problem"
    assert "6 events that were sent over 0.5 s came within" in found.found
    assert "proxy_buffering off" in found.remedy
    assert skew_s is not None and abs(skew_s) < 5


def test_a_proxy_that_only_heeds_the_header_is_warned_of(proxied: Proxied) -> None:
    (found,), _ = network.in_front(proxied.sparing + "/v1")
    assert (found.state, "X-Accel-Buffering" in found.found) == ("warning", True)


def test_a_proxy_that_passes_streams_on_is_well(proxied: Proxied) -> None:
    for url in (proxied.passing, proxied.direct):
        (found,), _ = network.in_front(url)
        assert found.state == "ok", found


def test_what_is_no_streamrouter_and_what_is_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        (found,), _ = network.in_front(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert (found.state, "firewall" in found.remedy) == ("problem", True)
    assert network.in_front("example.com")[0][0].state == "problem"
    other = network.Watched(status=200, arrivals=[0.0], kind="text/html", encoding="", skew_s=None)
    (found,) = network.judged("https://x", other, other)
    assert (found.state, PATH in found.remedy) == ("problem", True)


def test_compression_is_warned_of() -> None:
    seen = network.Watched(status=200, arrivals=[0.0, 0.5], kind="text/event-stream", encoding="gzip", skew_s=None)
    (found,) = network.judged("https://x", seen, seen)
    assert (found.state, "gzip_types" in found.remedy) == ("warning", True)


def test_upstreams_as_findings() -> None:
    probes = [
        Probe(upstream="a", model="m", kind="ok", ttft_ms=80),
        Probe(upstream="b", model="m", kind="wrong_key", detail="401", remedy="set api_key"),
        Probe(upstream="c", model="m", kind="unreachable", remedy="check base_url"),
        Probe(upstream="d", model=None, kind="ok", detail="its list"),
    ]
    found = network.upstreams(probes)
    assert [each.state for each in found] == ["ok", "problem", "problem", "ok"]
    assert [each.found for each in found] == [
        "first token of m after 80 ms",
        "the key is wrong (401)",
        "cannot be reached",
        "its list",
    ]


def test_a_name_of_which_one_address_is_silent() -> None:
    addresses = ["127.0.0.1", "127.0.0.2"]  # as ::1 and 127.0.0.1 are, where nobody listens on the first
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = network.of_addresses("proxy", "localhost", port, addresses)
        assert found is not None
        assert (found.state, found.remedy) == ("warning", "write the address instead of the name: 127.0.0.1")
        assert network.of_addresses("proxy", "localhost", port, addresses[:1]) is None
        assert network.names("proxy", f"http://127.0.0.1:{port}") is None
    assert network.names("proxy", "http://no-such-host.invalid") is None


@pytest.mark.parametrize(
    ("base_url", "host", "loops"),
    [
        ("http://127.0.0.1:8000/v1", "0.0.0.0", True),
        ("http://localhost:8000/v1", "127.0.0.1", True),
        ("http://10.0.0.5:8000/v1", "10.0.0.5", True),
        ("http://127.0.0.1:8001/v1", "127.0.0.1", False),
        ("http://10.0.0.5:8000/v1", "127.0.0.1", False),
    ],
)
def test_an_upstream_that_is_ourselves(base_url: str, host: str, loops: bool) -> None:
    found = network.loops("upstream a", base_url, host, 8000)
    assert (found is not None and found.state == "problem") is loops
