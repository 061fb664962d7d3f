from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamrouter.config.locate import dotted
from streamrouter.config.presets import resolve_upstream
from streamrouter.config.rules import check_meaning, warnings_of
from streamrouter.config.schema import Config, UpstreamConfig
from tests.support.encrypted import certificate

UPSTREAM = {"upstreams": {"main": {"base_url": "demo:"}}}


def faults_of(tree: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    check_meaning(msgspec.convert(tree, Config), lambda path, what: faults.append(f"{dotted(path)}: {what}"))
    return faults


@pytest.mark.parametrize(
    "address",
    ["demo:", "http://127.0.0.1:11434/v1", "https://[::1]:8443/v1", "https://upstream.example", "HTTPS://h.example/v1"],
)
def test_addresses_that_are_fine(address: str) -> None:
    assert faults_of({"upstreams": {"main": {"base_url": address}}}) == []


@pytest.mark.parametrize(
    "address",
    [
        "demo",
        "ftp://h.example/v1",
        "h.example/v1",
        "https://",
        "https://h.example/v 1",
        "https://h.example/v1\n",
        "https://user@h.example/v1",
        "https://h.example/v1?key=x",
        "https://h.example/v1#x",
        "https://[::1/v1",
        "https://h.example:99999/v1",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    [fault] = faults_of({"upstreams": {"main": {"base_url": address}}})
    assert fault.startswith("upstreams.main.base_url: ")
    assert len(address) < 9 or address not in fault


@pytest.mark.parametrize("key", ["two words", "line\nend", "schlüssel", "tab\t"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    [fault] = faults_of({"upstreams": {"main": {"base_url": "demo:", "api_key": key}}})
    assert fault.startswith("upstreams.main.api_key: ")
    assert key not in fault


@pytest.mark.parametrize(
    ("name", "value"), [("Host", "x"), ("content-length", "1"), ("a b", "x"), ("x-a", "1\r\nb: 2")]
)
def test_a_header_that_cannot_be_set(name: str, value: str) -> None:
    [fault] = faults_of({"upstreams": {"main": {"base_url": "demo:", "headers": {name: value}}}})
    assert "upstreams.main.headers" in fault


def test_targets_must_exist() -> None:
    models = {"a": {"targets": [{"upstream": "main"}, {"upstream": "mian"}]}}
    assert faults_of(UPSTREAM | {"models": models}) == [
        "models.a.targets[1].upstream: there is no [upstreams.mian]; did you mean main?"
    ]


def test_models_need_an_upstream_and_no_models_need_none() -> None:
    assert len(faults_of({"models": {"a": {}}})) == 1
    assert faults_of({}) == []


def test_the_default_of_max_tokens_is_within_the_ceiling() -> None:
    model = {"max_output_tokens": 10, "default_max_tokens": 10}
    assert faults_of(UPSTREAM | {"models": {"a": model}}) == []
    [fault] = faults_of(UPSTREAM | {"models": {"a": model | {"default_max_tokens": 11}}})
    assert "11 is above max_output_tokens, which is 10" in fault


def test_surfaces_differ_in_name_and_place_and_may_share_a_prefix() -> None:
    one = {"name": "one", "base_path": "/v1", "host": "a.example", "key_prefix": "sk-"}
    assert faults_of({"surface": [one, one | {"name": "two", "host": "b.example"}]}) == []
    assert faults_of({"surface": [one, one | {"name": "two", "base_path": "/v2"}]}) == []
    assert len(faults_of({"surface": [one, one | {"name": "two", "host": "A.example"}]})) == 1
    assert len(faults_of({"surface": [one, one]})) == 2
    assert len(faults_of({"surface": []})) == 1


def test_warnings_name_what_is_probably_forgotten() -> None:
    keyless = resolve_upstream(UpstreamConfig(preset="groq"), {})
    local = resolve_upstream(UpstreamConfig(preset="ollama"), {})
    config = Config(upstreams={"fast": keyless, "local": local})
    assert warnings_of(config) == [
        "no [models] are configured: every request is refused with model_not_found",
        "upstreams.fast: no key; set api_key, or GROQ_API_KEY in the environment",
    ]


def test_tls_needs_both_files_and_http2_needs_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    for server, at in {
        (("tls_cert", cert), ("tls_key", key), ("http2", True)): None,
        (("http2", True),): "server.http2: HTTP/2 is spoken over TLS only; ",
        (("tls_cert", cert),): "server.tls_key: tls_cert is of no use without it; ",
        (("tls_key", key), ("http2", True)): "server.tls_cert: tls_key is of no use without it; ",
        (("tls_cert", cert), ("tls_key", str(tmp_path / "none"))): f"server.tls_key: {tmp_path}/none cannot be read: ",
        (("tls_cert", key), ("tls_key", key)): "server.tls_key: ",
    }.items():
        faults = faults_of({**UPSTREAM, "server": dict(server)})
        assert faults == [] if at is None else len(faults) == 1 and faults[0].startswith(at), (server, faults)
