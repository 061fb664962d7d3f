from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest

from streamrouter.config.presets import PRESETS, offered_upstreams, resolve_upstream
from streamrouter.config.schema import UpstreamConfig


def test_the_documented_presets_are_there() -> None:
    hosted = ["openai", "azure", "openrouter", "anthropic", "gemini", "mistral", "groq", "deepseek", "xai", "together"]
    assert list(PRESETS) == [*hosted, "vllm", "ollama", "llamacpp", "lmstudio"]


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "azure"])
def test_a_preset_is_enough(name: str) -> None:
    preset = PRESETS[name]
    resolved = resolve_upstream(UpstreamConfig(preset=name), {preset.key_variable: " sk-of-env \n"})
    parts = urlsplit(resolved.base_url)
    assert parts.scheme == ("https" if preset.key_variable else "http")
    assert parts.netloc and not resolved.base_url.endswith("/")
    assert resolved.api_key == ("sk-of-env" if preset.key_variable else "")
    assert resolved.max_tokens_field == preset.max_tokens_field
    assert resolved.ask_usage is preset.ask_usage


@pytest.mark.parametrize("name", [*PRESETS, None])
def test_resolving_twice_changes_nothing(name: str | None) -> None:
    environ = {preset.key_variable: "sk-of-env" for preset in PRESETS.values()}
    once = resolve_upstream(UpstreamConfig(preset=name, base_url="https://RESOURCE.example/v1/"), environ)
    assert resolve_upstream(once, environ) == once
    assert once.max_tokens_field is not None
    assert once.ask_usage is not None
    assert once.base_url == "https://RESOURCE.example/v1"


def test_what_the_upstream_says_itself_wins() -> None:
    said = UpstreamConfig(
        preset="openrouter",
        api_key="sk-own",
        headers={"x-title": "mine", "x-more": "1"},
        max_tokens_field="max_completion_tokens",
        ask_usage=False,
        connect_s=1.5,
    )
    resolved = resolve_upstream(said, {"OPENROUTER_API_KEY": "sk-of-env"})
    assert resolved == msgspec.structs.replace(said, base_url="https://openrouter.ai/api/v1")


def test_a_key_of_the_environment_never_goes_to_another_host() -> None:
    environ = {"OPENAI_API_KEY": "sk-of-env"}
    elsewhere = UpstreamConfig(preset="openai", base_url="https://evil.example/v1")
    assert resolve_upstream(elsewhere, environ).api_key == ""
    assert resolve_upstream(UpstreamConfig(base_url="https://api.openai.com/v1"), environ).api_key == ""
    azure = UpstreamConfig(preset="azure", base_url="https://r.openai.azure.com/openai/v1")
    assert resolve_upstream(azure, {"AZURE_OPENAI_API_KEY": "k"}).api_key == "k"


def test_a_known_address_without_a_preset_has_its_quirks() -> None:
    openai = resolve_upstream(UpstreamConfig(base_url="https://api.openai.com/v1"), {})
    assert openai.max_tokens_field == "max_completion_tokens"
    mistral = resolve_upstream(UpstreamConfig(base_url="https://api.mistral.ai/v1"), {})
    assert mistral.ask_usage is False
    for address in ("demo:", "https://upstream.example/v1", ""):
        plain = resolve_upstream(UpstreamConfig(base_url=address), {})
        assert (plain.max_tokens_field, plain.ask_usage, plain.base_url) == ("max_tokens", True, address)


def test_keys_in_the_environment_offer_their_providers() -> None:
    environ = {"GROQ_API_KEY": "k", "OPENAI_API_KEY": " ", "AZURE_OPENAI_API_KEY": "k", "HOME": "/"}
    offered = offered_upstreams(environ)
    assert list(offered) == ["groq"]
    assert offered["groq"].api_key == "k"
    assert offered["groq"].base_url == "https://api.groq.com/openai/v1"
