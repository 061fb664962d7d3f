"""The list of prices that ships, and how a configuration takes prices from one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streamrouter.config.load import BUILT_IN, load
from streamrouter.errors import ConfigError
from streamrouter.policy.money import price_to_pico

CONFIGS = BUILT_IN.parent
LISTED: dict[str, dict[str, str]] = tomllib.loads((CONFIGS / "prices.toml").read_text())
SHIPPED = sorted(path for path in CONFIGS.glob("*.toml") if path.name != "prices.toml")


@pytest.mark.parametrize("model", LISTED)
def test_every_price_is_exact_and_says_where_it_is_from(model: str) -> None:
    entry = dict(LISTED[model])
    assert entry.pop("source") and re.fullmatch(r"20\d\d-\d\d-\d\d", entry.pop("date"))
    assert {"input", "output"} <= entry.keys()
    assert all(price_to_pico(value) >= 0 for value in entry.values())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_configurations_charge_what_the_list_says(path: Path) -> None:
    models: dict[str, Any] = tomllib.loads(path.read_text()).get("models", {})
    wrong = {
        name: part
        for name, model in models.items()
        if name != "demo"
        for part, value in model.get("price", {}).items()
        if LISTED[name].get(part, value) != value
    }
    assert wrong == {}


MODELS = '[upstreams.a]\nbase_url = "demo:"\n[models.one]\n[models.two]\nupstream_model = "deux"\n'


def test_models_without_a_price_get_the_listed_one(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'one = { input = "1", output = "2", audio_input = "9", source = "x" }\ndeux = { input = "3", output = "4" }\n'
    )
    path = tmp_path / "c.toml"
    path.write_text('prices = "p.toml"\n' + MODELS + '[models.own]\nprice = { input = "7" }\n')
    models = load(str(path), {}, {}).config.models
    assert [(m.price.input, m.price.output) for m in models.values()] == [("1", "2"), ("3", "4"), ("7", "0")]


def test_a_list_that_is_missing_or_lacks_a_model_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('prices = "p.toml"\n' + MODELS)
    with pytest.raises(ConfigError, match=r"p\.toml: cannot be read"):
        load(str(path), {}, {})
    (tmp_path / "p.toml").write_text('one = { input = "x", output = "2" }')
    with pytest.raises(ConfigError, match=r"p\.toml: has no price of two"):
        load(str(path), {}, {})
    (tmp_path / "p.toml").write_text('one = { input = "x" }\ntwo = {}')
    with pytest.raises(ConfigError, match=r"models\.one\.price\.input: expected USD per million"):
        load(str(path), {}, {})
