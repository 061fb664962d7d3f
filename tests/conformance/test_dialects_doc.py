"""docs/dialects.md says what is so: every key has its entry, every test that it names exists, its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from streamrouter.config import schema
from streamrouter.config.load import load
from streamrouter.config.schema import SurfaceConfig
from streamrouter.wire.dialect import Dialect

TESTS = Path(__file__).parent
TEXT = (TESTS.parent.parent / "docs" / "dialects.md").read_text()
ENTRIES = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
NESTED = {
    "max_tokens": schema.MaxTokensConfig,
    "content": schema.ContentConfig,
    "model_names": schema.ModelNamesConfig,
    "plugins": schema.PluginConfig,
    "errors": schema.ErrorsConfig,
    "fields": schema.FieldConfig,
}


def test_every_key_has_its_entry_and_every_entry_its_key() -> None:
    assert set(ENTRIES) == set(SurfaceConfig.__struct_fields__)


@pytest.mark.parametrize("name", NESTED)
def test_every_key_of_a_table_is_explained(name: str) -> None:
    assert [key for key in NESTED[name].__struct_fields__ if f"`{key}`" not in ENTRIES[name]] == []


def test_every_table_is_looked_at() -> None:
    kinds = {field.name for field in msgspec.structs.fields(SurfaceConfig) if "Config" in str(field.type)}
    assert kinds == set(NESTED)


def test_every_choice_is_named() -> None:
    for field in msgspec.structs.fields(SurfaceConfig):
        for choice in re.findall(r"'([a-z_-]+)'", str(field.type) if "Literal" in str(field.type) else ""):
            assert choice in ENTRIES[field.name] or field.name == "roles", (field.name, choice)


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(\w+)`", TEXT))
    assert len(named) > 50
    for file, function in named:
        assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE), (file, function)


@pytest.mark.parametrize("name", ["wrees", "wlrouter", "weryai", "wrift", "gyld"])
def test_every_test_of_a_document_is_named(name: str) -> None:
    defined = re.findall(r"^(?:async )?def (test_\w+)\(", (TESTS / f"test_{name}.py").read_text(), re.MULTILINE)
    assert [test for test in defined if f"test_{name}.py::{test}`" not in TEXT] == []


def test_the_worked_example(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "shorts.toml"
    path.write_text(example)
    surface = load(str(path), {}, {}).config.surface[0]
    dialect = Dialect(surface)
    call = dialect.decode(b'{"model":"shorts-poet:x","messages":[{"role":"user","content":"Hi"}],"stream":true}', "r")
    assert (call.stream, bytes(call.members["mood"])) == (False, b'"calm"')
