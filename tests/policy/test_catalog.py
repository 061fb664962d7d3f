from __future__ import annotations

import pytest

from streamrouter.config.schema import Config, ModelConfig, PriceConfig, TargetConfig, UpstreamConfig
from streamrouter.errors import Refusal
from streamrouter.policy.catalog import Catalog, Target, model_object, permitted
from streamrouter.policy.money import Price

CONFIG = Config(
    upstreams={"first": UpstreamConfig(base_url="demo:"), "second": UpstreamConfig(base_url="demo:")},
    models={
        "gpt-x": ModelConfig(price=PriceConfig("0.15", "0.60", "0.075"), context_length=1000, exact=True),
        "lab/y:1": ModelConfig(name="Y", upstream_model="y-2025", price=PriceConfig("1", "2")),
        "spread": ModelConfig(
            upstream_model="common",
            targets=[TargetConfig(upstream="second", rank=1), TargetConfig(upstream="first", model="own", weight=3)],
        ),
    },
)
CATALOG = Catalog(CONFIG)


def refusal(name: str, *allowed: list[str] | None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        CATALOG.resolve(name, *allowed)
    assert caught.value.param == "model"
    return caught.value


def test_names_targets_and_prices() -> None:
    x, y, spread = CATALOG.models.values()
    assert (x.id, x.name, x.context_length, x.exact) == ("gpt-x", "gpt-x", 1000, True)
    assert x.targets == (Target("first", "gpt-x"),)
    assert x.price == Price(150_000, 600_000, 75_000)
    assert (y.name, y.targets, y.exact) == ("Y", (Target("first", "y-2025"),), False)
    assert y.price == Price(1_000_000, 2_000_000, 1_000_000)  # cache_read is the input's unless said
    assert spread.targets == (Target("second", "common", 1, 1), Target("first", "own", 0, 3))


def test_no_upstream_no_target() -> None:
    assert Catalog(Config(models={"m": ModelConfig()})).models["m"].targets == ()


@pytest.mark.parametrize("allowed", [(), (None,), (None, None), (["gpt-x"],), (["gpt-x", "z"], ["gpt-x"])])
def test_resolved(allowed: tuple[list[str] | None, ...]) -> None:
    assert CATALOG.resolve("gpt-x", *allowed).id == "gpt-x"


@pytest.mark.parametrize("allowed", [([],), (["spread"],), (["spread"], ["gpt-x"]), (None, ["spread"])])
def test_every_list_must_hold_it(allowed: tuple[list[str] | None, ...]) -> None:
    said = refusal("gpt-x", *allowed)
    assert (said.code, said.rule.status) == ("model_not_allowed", 403)
    assert "lab/y:1" not in said.message


def test_a_refusal_names_what_the_key_may_use() -> None:
    assert "It may use: lab/y:1, spread." in refusal("gpt-x", ["spread", "lab/y:1"]).message
    assert "It may use: none." in refusal("gpt-x", []).message


@pytest.mark.parametrize(
    "name", ["gpt-y", "GPT-X", "gpt-x ", "gpt‑x", "ｇpt-x", "gрt-x", "gpt-x\0", "../gpt-x", "", "z" * 10_000]
)
def test_a_twin_is_unknown(name: str) -> None:
    said = refusal(name)
    assert (said.code, said.rule.status) == ("model_not_found", 404)
    assert said.message.isascii()
    assert said.message.isprintable()
    assert len(said.message) < 800


def test_a_hint_only_of_what_the_key_may_use() -> None:
    assert "Did you mean 'gpt-x'?" in refusal("gpt-xx").message
    assert "gpt-x'?" not in refusal("gpt-xx", ["spread"]).message


def test_visible_in_configured_order() -> None:
    assert [m.id for m in CATALOG.visible([None, None])] == ["gpt-x", "lab/y:1", "spread"]
    assert [m.id for m in CATALOG.visible(iter([["spread", "gpt-x", "gone"], None]))] == ["gpt-x", "spread"]
    assert permitted("a", [])


def test_the_object_that_clients_read() -> None:
    entry = dict(model_object(CATALOG.models["lab/y:1"], 1735689600))
    assert entry == {
        "id": "lab/y:1",
        "object": "model",
        "created": 1735689600,
        "owned_by": "streamrouter",
        "name": "Y",
        "context_length": 128_000,
        "max_output_tokens": 16_384,
        "pricing": {"input": "1", "output": "2", "cache_read": "1"},
    }
