"""A surface's own names for models."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from streamrouter.config.schema import Config
from streamrouter.errors import Refusal
from streamrouter.policy.catalog import Catalog
from streamrouter.policy.naming import Naming, namings

UPSTREAMS = {
    "plain": {"base_url": "https://a.example/v1"},
    "router": {"base_url": "https://openrouter.ai/api/v1"},
    "also": {"base_url": "https://b.example/v1", "preset": "openrouter"},
}
MODELS: dict[str, Any] = {"fitness": {"upstream_model": "flywheel-fitness"}, "a/b": {}, "a/b:9": {}, "c": {}}


def naming(upstreams: dict[str, Any] = UPSTREAMS, **surface: Any) -> Catalog:
    config = msgspec.convert({"upstreams": upstreams, "models": MODELS, "surface": [surface]}, Config)
    return Naming(config, config.surface[0], Catalog(config).models)


def code(catalog: Catalog, name: str, *allowed: list[str] | None) -> str:
    with pytest.raises(Refusal) as raised:
        catalog.resolve(name, *allowed)
    return raised.value.code


def test_only_surfaces_that_need_one_have_one() -> None:
    surfaces: list[dict[str, Any]] = [
        {"name": "plain"},
        {"name": "some", "base_path": "/a", "models": ["c"]},
        {"name": "named", "base_path": "/b", "model_names": {"form": "owner/name"}},
    ]
    config = msgspec.convert({"models": MODELS, "surface": surfaces}, Config)
    assert list(namings(config)) == ["some", "named"]


def test_a_list_of_models() -> None:
    catalog = naming(models=["c", "fitness"])
    assert [model.id for model in catalog.visible([None])] == ["c", "fitness"]
    assert code(catalog, "a/b") == "model_not_found"
    assert code(catalog, "c", ["fitness"]) == "model_not_allowed"


@pytest.mark.parametrize("name", ["fitness", "fly-fitness", "fly-fitness:x", "fitness:", "fitness:a:b"])
def test_prefix_and_tag(name: str) -> None:
    catalog = naming(model_names={"form": "prefix", "prefix": "fly-", "ignore_tag": True})
    model = catalog.resolve(name, None, ["fitness"])
    assert (model.id, model.shown, model.targets[0].model) == ("fitness", "fitness", "flywheel-fitness")
    assert code(catalog, name, ["c"]) == "model_not_allowed"


@pytest.mark.parametrize("name", ["fly-fly-fitness", "", ":", "fly-", "FITNESS", "fitness fly-"])
def test_not_by_prefix(name: str) -> None:
    catalog = naming(model_names={"form": "prefix", "prefix": "fly-", "ignore_tag": True})
    assert code(catalog, name) == "model_not_found"


def test_a_tag_counts_where_it_is_not_ignored() -> None:
    catalog = naming(model_names={"form": "prefix", "prefix": "fly-"})
    assert code(catalog, "fitness:x") == "model_not_found"
    assert catalog.resolve("fly-fitness").id == "fitness"


def test_versions() -> None:
    catalog = naming(model_names={"form": "owner/name"})
    model = catalog.resolve("a/b:12", ["a/b"])
    assert (model.id, model.shown, model.targets[0].model) == ("a/b", "a/b:12", "a/b:12")
    assert catalog.resolve("a/b:9").id == "a/b:9"  # one that is configured is itself
    assert catalog.resolve("a/b").shown == "a/b"
    for name in ("a/b:", "a/b:1:2", "a/b:1/2", "a/b:1 2", "x/y:1"):
        assert code(catalog, name) == "model_not_found"
    assert code(catalog, "a/b:12", ["c"]) == "model_not_allowed"


def test_what_is_passed_on() -> None:
    catalog = naming(model_names={"passed_on": {":free": "openrouter"}})
    model = catalog.resolve("any/thing:free", ["c"])  # no admin has to enable it
    assert (model.id, model.shown) == ("any/thing:free", "any/thing:free")
    assert [(target.upstream, target.model) for target in model.targets] == [
        ("router", "any/thing:free"),
        ("also", "any/thing:free"),
    ]
    assert model.price.input == model.price.output == 0
    for name in ("any/thing", "any/thing:free ", ":free", "a b:free", "x" * 300 + ":free"):
        assert code(catalog, name) == "model_not_found"
    nowhere = naming({"plain": UPSTREAMS["plain"]}, model_names={"passed_on": {":free": "openrouter"}})
    assert code(nowhere, "any/thing:free") == "model_not_found"
