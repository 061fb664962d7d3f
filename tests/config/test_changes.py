"""What a reload takes over, what waits for a restart, and that no value is ever told."""

from __future__ import annotations

from msgspec.structs import replace

from streamrouter.config.changes import RESTART, changes, in_force
from streamrouter.config.schema import (
    Config,
    LedgerConfig,
    LogConfig,
    ModelConfig,
    PriceConfig,
    ServerConfig,
    SurfaceConfig,
    TracingConfig,
    UpstreamConfig,
)

OLD = Config(
    upstreams={"main": UpstreamConfig(base_url="https://a", api_key="sk-old-canary")},
    models={"org/m:1": ModelConfig(), "gone": ModelConfig()},
)


def test_nothing_changed() -> None:
    found = changes(OLD, replace(OLD))
    assert not found
    assert (found.taken, found.restart) == ([], [])


def test_keys_are_named_down_to_the_one_that_differs_and_values_never() -> None:
    new = replace(
        OLD,
        server=ServerConfig(max_body_bytes=1, cors_origins=["*"]),
        upstreams={"main": UpstreamConfig(base_url="https://a", api_key="sk-new-canary", headers={"a": "canary"})},
        models={"org/m:1": ModelConfig(price=PriceConfig(input="1")), "new": ModelConfig()},
        surface=[replace(OLD.surface[0], concurrency=3)],
    )
    found = changes(OLD, new)
    assert found.taken == [
        "server.max_body_bytes",
        "server.cors_origins",
        "upstreams.main.api_key",
        "upstreams.main.headers",
        'models."org/m:1".price.input',
        "models.gone",
        "models.new",
        "surface[0].concurrency",
    ]
    assert found.restart == []
    assert "canary" not in str(found)
    assert in_force(OLD, new) == new


def test_another_number_of_surfaces_is_one_change() -> None:
    new = replace(OLD, surface=[*OLD.surface, SurfaceConfig(name="second")])
    assert changes(OLD, new).taken == ["surface"]


def test_what_needs_a_restart_stays_as_it_was() -> None:
    new = replace(
        OLD,
        server=ServerConfig(host="0.0.0.0", port=9, keepalive_s=1.0, metrics_port=9100),
        ledger=LedgerConfig(path="other.db"),
        log=LogConfig(level="debug", format="text"),
        tracing=TracingConfig(enabled=True),
    )
    found = changes(OLD, new)
    assert found.taken == ["server.keepalive_s", "log.level"]
    assert found.restart == [
        "server.host",
        "server.port",
        "server.metrics_port",
        "ledger.path",
        "log.format",
        "tracing.enabled",
    ]
    forced = in_force(OLD, new)
    assert forced == replace(OLD, server=ServerConfig(keepalive_s=1.0), log=LogConfig(level="debug"))
    assert changes(OLD, forced).restart == []


def test_a_certificate_is_taken_over_only_where_tls_is_spoken() -> None:
    plain = OLD
    first = replace(OLD, server=ServerConfig(tls_cert="a.pem", tls_key="a.key"))
    second = replace(OLD, server=ServerConfig(tls_cert="b.pem", tls_key="b.key"))
    assert changes(plain, first).restart == ["server.tls_cert", "server.tls_key"]
    assert in_force(plain, first) == plain
    assert in_force(first, plain) == first
    assert changes(first, second).taken == ["server.tls_cert", "server.tls_key"]
    assert in_force(first, second) == second


def test_every_listed_path_exists() -> None:
    for path in RESTART:
        value: object = OLD
        for step in path:
            value = getattr(value, str(step))
