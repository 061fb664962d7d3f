"""A first configuration: whatever is chosen, what is written can be loaded and says what was chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrouter.config.draft import Draft, DraftUpstream, text_of
from streamrouter.config.load import BUILT_IN, Loaded, load
from streamrouter.config.presets import PRESETS

KNOWN = load(str(BUILT_IN), {}, {}).config.models
KEYS = {preset.key_variable: "sk-of-the-environment" for preset in PRESETS.values() if preset.key_variable}


def loaded(folder: Path, draft: Draft) -> Loaded:
    path = folder / "c.toml"
    path.write_text(text_of(draft, KNOWN))
    return load(str(path), KEYS, {})


def test_nothing_chosen_is_the_demo(tmp_path: Path) -> None:
    found = loaded(tmp_path, Draft())
    assert (list(found.config.upstreams), list(found.config.models), found.warnings) == (["demo"], ["demo"], [])
    assert (found.config.server.host, found.config.server.port) == ("127.0.0.1", 8000)


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.offered])
def test_every_provider_with_its_models_and_their_prices(tmp_path: Path, name: str) -> None:
    found = loaded(tmp_path, Draft(upstreams=(DraftUpstream(name=name, preset=name),)))
    upstream = found.config.upstreams[name]
    assert (upstream.base_url, upstream.api_key) == (PRESETS[name].base_url, "sk-of-the-environment")
    for model_id, model in found.config.models.items():
        assert [target.upstream for target in model.targets] == [name]
        assert (model.price, model.context_length, model.default_max_tokens) == (
            KNOWN[model_id].price,
            KNOWN[model_id].context_length,
            KNOWN[model_id].default_max_tokens,
        )
    assert bool(found.config.models) is (name in ("openai", "anthropic", "gemini", "deepseek"))


def test_an_endpoint_with_a_key_that_was_typed(tmp_path: Path) -> None:
    secret = "sk-${HOME}\"\\'#"
    own = DraftUpstream(name="up", base_url="https://llm.example/v1", api_key=secret, models=("org/m:1", "gpt-4.1"))
    found = loaded(tmp_path, Draft(host="0.0.0.0", port=9, ledger="dir/x.db", upstreams=(own,)))
    assert found.config.upstreams["up"].api_key == secret
    assert (found.config.server.port, found.config.ledger.path) == (9, "dir/x.db")
    assert list(found.config.models) == ["org/m:1", "gpt-4.1"]
    assert found.config.models["gpt-4.1"].price == KNOWN["gpt-4.1"].price


def test_two_providers(tmp_path: Path) -> None:
    both = tuple(DraftUpstream(name=name, preset=name) for name in ("openai", "groq"))
    found = loaded(tmp_path, Draft(upstreams=both))
    assert list(found.config.upstreams) == ["openai", "groq"]
