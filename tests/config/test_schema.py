"""The schema, and the shipped file that documents it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from streamrouter.config import schema
from streamrouter.config.load import BUILT_IN, load
from streamrouter.config.schema import Config, ModelConfig, SurfaceConfig, UpstreamConfig
from streamrouter.policy.money import price_to_pico
from tests.support.encrypted import certificate

TEXT = BUILT_IN.read_text()
COMMENTED_KEY = re.compile(r"^# (?=[a-z_]+ = )", re.MULTILINE)


def structs() -> list[type[msgspec.Struct]]:
    return [
        value
        for value in vars(schema).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == schema.__name__
    ]


def keys() -> list[str]:
    return [f"{struct.__name__}.{name}" for struct in structs() for name in struct.__struct_fields__]


@pytest.mark.parametrize("key", keys())
def test_every_key_stands_in_the_shipped_file(key: str) -> None:
    name = key.partition(".")[2]
    assert re.search(rf"(^|^# |[{{,] ){name} = |^\[+{name}[\].]", TEXT, re.MULTILINE), key


def everything() -> dict[str, Any]:
    """The shipped file with every key that it shows in a comment."""
    return tomllib.loads(COMMENTED_KEY.sub("", TEXT))


@pytest.mark.parametrize("section", ["server", "ledger", "log", "tracing", "defaults"])
def test_what_the_file_shows_is_the_default(section: str) -> None:
    written = tomllib.loads(TEXT)[section]
    assert msgspec.convert({section: written}, Config) == Config()
    fields = [field.name for field in msgspec.structs.fields(type(getattr(Config(), section)))]
    assert [key for key in everything()[section] if key in fields] == fields


def test_what_the_file_shows_of_upstreams_models_and_surfaces_is_the_default() -> None:
    shown = everything()
    optional = {"base_url", "api_key", "preset", "headers", "name", "upstream_model", "targets", "host"}
    cases: list[tuple[type[msgspec.Struct], dict[str, Any]]] = [
        (UpstreamConfig, shown["upstreams"]["main"]),
        (ModelConfig, shown["models"]["demo"]),
        (SurfaceConfig, shown["surface"][0]),
    ]
    for struct, written in cases:
        assert set(written) == set(struct.__struct_fields__)
        kept = {key: value for key, value in written.items() if key not in optional}
        for key, value in msgspec.to_builtins(msgspec.convert(kept, struct)).items():
            default = msgspec.to_builtins(struct())[key]
            assert value == default or default is None or key == "price", key


def test_the_file_with_every_comment_taken_away_is_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for made, named in zip(certificate(tmp_path), ("cert.pem", "key.pem"), strict=True):
        Path(made).rename(tmp_path / named)
    path = tmp_path / "all.toml"
    path.write_text(COMMENTED_KEY.sub("", TEXT))
    loaded = load(str(path), {"STREAMROUTER_UPSTREAM_URL": "https://h.example/v1"}, {})
    assert loaded.config.models["demo"].targets[0].upstream == "main"
    assert loaded.config.surface[0].concurrency == 4


def test_the_shipped_models_are_priced_and_limited() -> None:
    models = load(str(BUILT_IN), {}, {}).config.models
    assert price_to_pico(models["demo"].price.output) == 0
    for model_id, model in models.items():
        assert model.default_max_tokens <= model.max_output_tokens <= model.context_length
        assert model.upstream_model == model_id
        if model_id != "demo":
            cached = price_to_pico(model.price.cache_read or "0")
            assert 0 < cached < price_to_pico(model.price.input) < price_to_pico(model.price.output)
        assert model.exact == (model.owned_by == "openai")
    assert price_to_pico(models["gpt-4.1-mini"].price.input) == 400_000


def test_nothing_can_be_changed_or_misspelt() -> None:
    for struct in structs():
        assert struct.__struct_config__.frozen
        assert struct.__struct_config__.forbid_unknown_fields
    with pytest.raises(AttributeError):
        Config().server.port = 1  # type: ignore[misc]


def test_every_integer_is_bounded() -> None:
    def walk(kind: inspect.Type, path: str) -> None:
        match kind:
            case inspect.StructType(fields=fields):
                for field in fields:
                    walk(field.type, f"{path}.{field.name}")
            case inspect.UnionType(types=types):
                for each in types:
                    walk(each, path)
            case inspect.DictType(value_type=inner) | inspect.ListType(item_type=inner):
                walk(inner, path)
            case inspect.IntType() | inspect.FloatType():
                assert kind.le is not None, path

    walk(inspect.type_info(Config), "")
