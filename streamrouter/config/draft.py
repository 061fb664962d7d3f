"""The text of a first configuration: what was chosen, commented, and nothing else. `streamrouter init` writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct

from streamrouter.config.presets import PRESETS
from streamrouter.config.schema import ModelConfig

DEMO = "demo"
# Who makes the models that the package knows and prices, by the preset that serves them under their own names.
_OWNERS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google", "deepseek": "deepseek"}


class DraftUpstream(Struct, frozen=True, kw_only=True):
    """One upstream: a preset, or an address. ``api_key``: a key to write down; None: the preset's variable has it."""

    name: str
    preset: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    models: tuple[str, ...] = ()


class Draft(Struct, frozen=True, kw_only=True):
    """What was chosen. Without an upstream it is the built-in demo's."""

    host: str = "127.0.0.1"
    port: int = 8000
    ledger: str = "streamrouter.db"
    upstreams: tuple[DraftUpstream, ...] = ()


def text_of(draft: Draft, known: Mapping[str, ModelConfig]) -> str:
    """TOML that config/load.py takes. ``known``: the package's models, which have their limits and prices."""
    upstreams = draft.upstreams or (DraftUpstream(name=DEMO, base_url="demo:", models=(DEMO,)),)
    parts = [
        "# streamrouter's configuration. Whatever is left out has its default: docs/configuration.md has every key.\n"
        "# `streamrouter check` names each fault with its line, and with --probe it also tries the upstreams.\n",
        f"[server]\nhost = {_string(draft.host)}           # 0.0.0.0 for every address of the machine\n"
        f"port = {draft.port}\n",
        f"[ledger]\npath = {_string(draft.ledger)}     # users, keys, caps, costs: SQLite or Postgres\n",
        "# The caps of a new user, in tokens; `streamrouter user set NAME` changes them for one.\n"
        "[defaults]\n# daily_input = 5_000_000\n# daily_output = 1_000_000\n# requests_per_minute = 600\n",
        *map(_upstream, upstreams),
        "# What clients may ask for. Prices are USD per million tokens, as listed in November 2026: check them.\n",
        *(_models(upstream, known) for upstream in upstreams),
    ]
    return "\n".join(parts)


def _upstream(upstream: DraftUpstream) -> str:
    lines = [f"[upstreams.{upstream.name}]"]
    preset = PRESETS.get(upstream.preset or "")
    if preset is not None:
        lines.append(f"preset = {_string(upstream.preset or '')}")
    if upstream.base_url:
        hint = "           # built in: needs neither key nor network" if upstream.base_url == "demo:" else ""
        lines.append(f"base_url = {_string(upstream.base_url)}{hint}")
    if upstream.api_key:
        lines.append(f"api_key = {_string(upstream.api_key)}")
    elif preset is not None and preset.key_variable:
        lines.append(f'api_key = "${{{preset.key_variable}}}"  # from the environment; or "file:/run/secrets/NAME"')
    return "\n".join(lines) + "\n"


def _models(upstream: DraftUpstream, known: Mapping[str, ModelConfig]) -> str:
    owner = _OWNERS.get(upstream.preset or "")
    ids = upstream.models or tuple(name for name, model in known.items() if owner and model.owned_by == owner)
    if not ids:
        return (
            f'# [models."NAME"]\n# targets = [{{ upstream = "{upstream.name}" }}]\n'
            "# context_length = 128_000\n# max_output_tokens = 16_384\n"
            '# price = { input = "0", output = "0" }\n'
        )
    return "\n".join(_model(name, upstream, known.get(name)) for name in ids)


def _model(name: str, upstream: DraftUpstream, model: ModelConfig | None) -> str:
    lines = [f"[models.{_string(name)}]", f"targets = [{{ upstream = {_string(upstream.name)} }}]"]
    if model is not None and name != DEMO:
        lines += [f"name = {_string(model.name)}"] if model.name else []
        lines += ["exact = true"] if model.exact else []
        lines.append(f"context_length = {model.context_length:_}")
        lines.append(f"max_output_tokens = {model.max_output_tokens:_}")
        if model.default_max_tokens != ModelConfig().default_max_tokens:
            lines.append(f"default_max_tokens = {model.default_max_tokens:_}")
        price = model.price
        cached = f", cache_read = {_string(price.cache_read)}" if price.cache_read else ""
        lines.append(f"price = {{ input = {_string(price.input)}, output = {_string(price.output)}{cached} }}")
    elif name != DEMO:
        lines.append('price = { input = "0", output = "0" }  # unknown: nothing is charged until you say what it costs')
    return "\n".join(lines) + "\n"


def _string(text: str) -> str:
    """A TOML basic string whose value is ``text``, and in which nothing is a variable."""
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False).replace("\x7f", "\\u007f")
