from __future__ import annotations

import json
import shlex

import msgspec
import pytest

from streamrouter import __version__
from streamrouter.config.load import Loaded
from streamrouter.config.schema import Config, ModelConfig, ServerConfig, SurfaceConfig, UpstreamConfig
from streamrouter.process.banner import banner

CONFIG = Config(
    upstreams={
        "demo": UpstreamConfig(base_url="demo:"),
        "main": UpstreamConfig(base_url="https://api.example/v1", api_key="sk-provider-canary"),
    },
    models={"org/m:1": ModelConfig(), "other": ModelConfig()},
    surface=[SurfaceConfig(name="wl-router"), SurfaceConfig(name="second", base_path="/second/v1")],
)


def shown(
    config: Config = CONFIG,
    host: str = "127.0.0.1",
    *,
    created: bool = False,
    secret: str | None = None,
    console: str | None = None,
) -> dict[str, str]:
    """The lines by their first word; the second surface's has none."""
    loaded = Loaded(config=config, source="streamrouter.toml", warnings=[], env_providers=[])
    text = banner(loaded, host, 8000, created=created, account="default", secret=secret, console=console)
    assert text.endswith("\n\n")
    assert "canary" not in text
    lines = text.rstrip("\n").split("\n")
    assert all(line.startswith("  ") for line in lines)
    return {line[2:13].strip(): line[13:] for line in lines}


@pytest.mark.parametrize(
    ("console", "shown_as"),
    [
        (None, None),
        ("/console", "http://127.0.0.1:8000/console"),
        (
            "/console/setup#t=x",
            "http://127.0.0.1:8000/console   finish set-up once, within 30 min: "
            "http://127.0.0.1:8000/console/setup#t=x",
        ),
    ],
)
def test_where_the_console_is_and_how_it_begins(console: str | None, shown_as: str | None) -> None:
    assert shown(console=console).get("Console") == shown_as


def command(lines: dict[str, str]) -> list[str]:
    return shlex.split(lines["Try"])


def test_what_it_is_and_what_it_has() -> None:
    lines = shown()
    assert lines["streamroute"] == f"r {__version__}   ledger streamrouter.db   config streamrouter.toml"
    assert lines["Upstreams"] == "demo (demo, built in), main (https://api.example/v1)"
    assert lines["API"] == "http://127.0.0.1:8000/v1"
    assert lines[""] == "http://127.0.0.1:8000/second/v1   (second)"
    assert "(created)" in shown(created=True)["streamroute"]


def test_an_address_with_a_certificate_is_https() -> None:
    lines = shown(msgspec.structs.replace(CONFIG, server=ServerConfig(tls_cert="cert.pem", tls_key="key.pem")))
    assert lines["API"] == "https://127.0.0.1:8000/v1"
    assert command(lines)[2].startswith("https://")


def test_the_line_to_paste_streams() -> None:
    words = command(shown(secret="sk-first-key"))
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/v1/chat/completions"]
    assert "Authorization: Bearer sk-first-key" in words
    assert "Content-Type: application/json" in words
    body = json.loads(words[words.index("-d") + 1])
    assert (body["model"], body["stream"], body["messages"][0]["role"]) == ("org/m:1", True, "user")


@pytest.mark.parametrize(
    ("surface", "streams"),
    [
        (SurfaceConfig(models=["other"]), True),
        (SurfaceConfig(models=["whole"]), False),
        (SurfaceConfig(models=["other"], streaming="reject"), False),
        (SurfaceConfig(models=["other"], streaming="single"), False),
    ],
)
def test_the_line_to_paste_asks_for_what_its_surface_has(surface: SurfaceConfig, streams: bool) -> None:
    models = {**CONFIG.models, "whole": ModelConfig(streaming=False)}
    words = command(shown(Config(upstreams=CONFIG.upstreams, models=models, surface=[surface])))
    body = json.loads(words[words.index("-d") + 1])
    assert ([body["model"]], body["stream"]) == (surface.models, streams)


@pytest.mark.parametrize(("minimum", "amount"), [("25", "25"), ("0.00", "10")])
def test_where_a_balance_is_needed_it_says_how_to_get_one(minimum: str, amount: str) -> None:
    surface = SurfaceConfig(billing="prepaid", topup_minimum=minimum)
    assert (
        shown(Config(surface=[surface]), secret="sk-x")["Balance"] == f"none yet: streamrouter topup default {amount}"
    )
    assert "Balance" not in shown(Config(surface=[surface]))
    assert "Balance" not in shown(secret="sk-x")


def test_a_key_is_shown_only_when_it_was_just_made() -> None:
    first = shown(secret="sk-first-key")
    assert first["Key"].startswith("sk-first-key ")
    later = shown()
    assert "key create" in later["Key"]
    assert "Authorization: Bearer $WL_ROUTER_API_KEY" in command(later)


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.7", "10.0.0.7"), ("api.example", "api.example")],
)
def test_an_address_that_can_be_pasted(host: str, address: str) -> None:
    lines = shown(host=host)
    assert lines["API"] == f"http://{address}:8000/v1"
    assert command(lines)[2].startswith(f"http://{address}:8000/")


def test_nothing_configured() -> None:
    lines = shown(Config())
    assert lines["Upstreams"] == "none"
    assert '"model": "demo"' in lines["Try"]
