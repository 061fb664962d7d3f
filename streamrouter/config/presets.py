"""What is known of the upstreams people use, as data: address, key variable, quirks.

A preset fills in what ``[upstreams.NAME]`` does not say itself. There is no code for any provider: what differs between
them is a value in this table, and everything in it can be said in the configuration as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from streamrouter.config.schema import UpstreamConfig

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]


class Preset(Struct, frozen=True, kw_only=True):
    """One provider. ``base_url`` empty: it has no address that is the same for everybody.

    ``ask_usage``: whether ``stream_options.include_usage`` may be sent (who does not take it reports usage unasked).
    ``offered``: its key, found in the environment, makes it an upstream where there is no configuration file at all.
    """

    base_url: str = ""
    key_variable: str = ""
    max_tokens_field: MaxTokensField = "max_tokens"
    ask_usage: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    offered: bool = False


PRESETS: dict[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        max_tokens_field="max_completion_tokens",  # its reasoning models refuse max_tokens
        offered=True,
    ),
    "azure": Preset(  # base_url = "https://RESOURCE.openai.azure.com/openai/v1"
        key_variable="AZURE_OPENAI_API_KEY",
        max_tokens_field="max_completion_tokens",
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        headers={"x-title": "streamrouter"},
        offered=True,
    ),
    "anthropic": Preset(base_url="https://api.anthropic.com/v1", key_variable="ANTHROPIC_API_KEY", offered=True),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_variable="GEMINI_API_KEY",
        offered=True,
    ),
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
        ask_usage=False,  # 422 "extra_forbidden" on stream_options; its last chunk has the usage anyway
        offered=True,
    ),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key_variable="GROQ_API_KEY",
        max_tokens_field="max_completion_tokens",
        offered=True,
    ),
    "deepseek": Preset(base_url="https://api.deepseek.com/v1", key_variable="DEEPSEEK_API_KEY", offered=True),
    "xai": Preset(
        base_url="https://api.x.ai/v1",
        key_variable="XAI_API_KEY",
        max_tokens_field="max_completion_tokens",
        offered=True,
    ),
    "together": Preset(base_url="https://api.together.xyz/v1", key_variable="TOGETHER_API_KEY", offered=True),
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1"),
    "ollama": Preset(base_url="http://127.0.0.1:11434/v1"),
    "llamacpp": Preset(base_url="http://127.0.0.1:8080/v1"),
    "lmstudio": Preset(base_url="http://127.0.0.1:1234/v1"),
}

_PLAIN = Preset()
_HOSTS = {
    urlsplit(preset.base_url).netloc: preset for preset in PRESETS.values() if preset.key_variable and preset.base_url
}


def resolve_upstream(upstream: UpstreamConfig, environ: Mapping[str, str]) -> UpstreamConfig:
    """``upstream`` with everything said: address, ``max_tokens_field``, ``ask_usage``; resolving twice changes nothing.

    An upstream without a preset whose address is a known provider's has that provider's quirks, so that pointing
    ``base_url`` at one works. A key is taken from the environment only for a named preset at its own address: it never
    goes to another host. An unknown preset is left as it is (config/rules.py reports it).
    """
    preset = PRESETS.get(upstream.preset or "", _PLAIN)
    base_url = (upstream.base_url or preset.base_url).rstrip("/")
    quirks = preset if upstream.preset else _HOSTS.get(urlsplit(base_url).netloc, _PLAIN)
    at_home = not preset.base_url or urlsplit(base_url).netloc == urlsplit(preset.base_url).netloc
    key = environ.get(preset.key_variable, "").strip() if at_home and preset.key_variable else ""
    return msgspec.structs.replace(
        upstream,
        base_url=base_url,
        api_key=upstream.api_key or key,
        headers=preset.headers | upstream.headers,
        max_tokens_field=upstream.max_tokens_field or quirks.max_tokens_field,
        ask_usage=quirks.ask_usage if upstream.ask_usage is None else upstream.ask_usage,
    )


def is_of(upstream: UpstreamConfig, preset: str) -> bool:
    """Whether a (resolved) upstream is that provider: by its preset, or by its address."""
    known = PRESETS.get(preset, _PLAIN).base_url
    return upstream.preset == preset or bool(known and urlsplit(upstream.base_url).netloc == urlsplit(known).netloc)


def offered_upstreams(environ: Mapping[str, str]) -> dict[str, UpstreamConfig]:
    """The upstreams that provider keys in the environment make possible, named after their presets."""
    return {
        name: resolve_upstream(UpstreamConfig(preset=name), environ)
        for name, preset in PRESETS.items()
        if preset.offered and environ.get(preset.key_variable, "").strip()
    }
