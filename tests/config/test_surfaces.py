"""A mistake in a dialect is a fault with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrouter.config.load import load
from streamrouter.errors import ConfigError

HEAD = """\
[upstreams.main]
base_url = "demo:"
[models.demo]
[[surface]]
name = "here"
"""


def faults(tmp_path: Path, text: str, head: str = HEAD) -> list[str]:
    path = tmp_path / "my.toml"
    path.write_text(head + text)
    try:
        load(str(path), {}, {})
    except ConfigError as error:
        return str(error).replace(str(path), "my.toml").splitlines()
    return []


GOOD = """\
models = ["demo"]
model_names = { form = "prefix", prefix = "x-", ignore_tag = true, passed_on = { ":free" = "openrouter" } }
streaming = "single"
unknown_fields = "drop"
openai_fields = false
fields.stop = { type = "string or array", max_items = 4, items = "string", default = ["END"] }
fields.tools = { type = "array" }
fields.parallel_tool_calls = { type = "boolean", default = false, beside = "tools" }
roles = ["user"]
max_tokens = { default = 5, ceiling = 5 }
content = { max_messages = 1, max_message_chars = 2, max_total_chars = 3 }
plugins = [{ id = "web", models = ["demo"], send = { a = { b = [1, 2.5, "c", true] } }, not_with = { "a.b" = ["c"] } }]
attempt_timeout_s = 1
answers = "completed"
finish_reasons = { "*" = "stop" }
request_id = []
errors = { shape = "detail", status = { "404" = 400, overloaded = 500 } }
"""


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD) == []


BAD = {
    'streaming = "singel"': ':6: surface[0].streaming: expected one of "reject", "relay", "single",',
    'unknown_field = "drop"': ":6: surface[0].unknown_field: unknown key; did you mean unknown_fields?",
    'fields.a = { type = "strnig" }': ":6: surface[0].fields.a.type: expected JSON types such as",
    'fields.a = { type = "any or string" }': ":6: surface[0].fields.a.type: expected JSON types such as",
    "fields.a = { minimum = 1 }": ":6: surface[0].fields.a.type: missing; expected JSON types",
    'fields."a b" = { type = "any" }': ':6: surface[0].fields."a b": expected a field name',
    'fields.a = { type = "integer", minimum = 2, maximum = 1 }': ":6: surface[0].fields.a.minimum: 2 is above maximum",
    'fields.a = { type = "integer", default = "x" }': ":6: surface[0].fields.a.default: Invalid type for 'a'",
    'fields.a = { type = "integer", maximum = 3, default = 4 }': ".fields.a.default: Invalid value for 'a'",
    'fields.a = { type = "any", default = 1979-05-27 }': ":6: surface[0].fields.a.default: expected a value that JSON",
    'fields.a = { type = "any", beside = "b" }\nopenai_fields = false': ".fields.a.beside: there is no such field",
    'fields.n = { type = "integer", default = 2 }': ":6: surface[0].fields.n.default: streamrouter writes this field",
    'fields.model = { type = "any" }': ':6: surface[0].fields.model: model is always type = "string", required = true',
    'fields.messages = { type = "array" }': ":6: surface[0].fields.messages: messages is always",
    'models = ["demo", "dmeo"]': ':6: surface[0].models[1]: there is no [models."dmeo"]; did you mean demo?',
    'model_names = { prefix = "a-" }': ':6: surface[0].model_names.form: prefix and ignore_tag are for form = "prefix"',
    'model_names.passed_on = { ":free" = "openroter" }': "unknown preset; did you mean openrouter?",
    "max_tokens = { default = 9, ceiling = 8 }": ":6: surface[0].max_tokens.default: 9 is above the ceiling, 8",
    'plugins = [{ id = "web", models = ["x"] }]': ':6: surface[0].plugins[0].models[0]: there is no [models."x"]',
    'plugins = [{ id = "web", send = { model = "x" } }]': ":6: surface[0].plugins[0].send.model: this field is stream",
    'plugins = [{ id = "web", send = { api_base = "x" } }]': ":6: surface[0].plugins[0].send.api_base: this field is",
    'plugins = [{ id = "web", send = { a = { b = 2024-01-01 } } }]': ".send.a.b: expected a value that JSON knows",
    "errors.status = { nowhere = 400 }": ":6: surface[0].errors.status.nowhere: no code and no status of ours",
    "errors.status = { overloaded = 200 }": ":6: surface[0].errors.status.overloaded: expected an integer from 400 to",
    'finish_reasons = { "*" = "stop" }': ":6: surface[0].finish_reasons: only whole answers are rewritten",
    "roles = []": ":6: surface[0].roles: no message could be sent",
    'roles = ["user", "usr"]': ':6: surface[0].roles[1]: expected one of "assistant",',
    'request_id = ["everywhere"]': ":6: surface[0].request_id[0]: expected one of",
}


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_meant(tmp_path: Path, text: str) -> None:
    [found] = faults(tmp_path, text)
    assert found.startswith("my.toml:6: ")
    assert BAD[text] in found


def test_the_defaults_of_a_model(tmp_path: Path) -> None:
    head = '[upstreams.main]\nbase_url = "demo:"\n[models.demo]\n'
    assert faults(tmp_path, "defaults = { temperature = 0.5, stop = ['a'] }", head) == []
    [found] = faults(tmp_path, "defaults = { max_tokens = 5 }", head)
    assert found.startswith("my.toml:4: models.demo.defaults.max_tokens: this field is streamrouter's own")


def test_a_cancel_path_has_its_id(tmp_path: Path) -> None:
    head = '[upstreams.main]\nbase_url = "demo:"\n'
    assert faults(tmp_path, 'cancel_path = "/a/{id}/cancel"', head) == []
    for path in ("/a/cancel", "a/{id}", "https://b.example/{id}"):
        [found] = faults(tmp_path, f'cancel_path = "{path}"', head)
        assert "expected a path below base_url with {id} in it" in found


def test_places_and_names_are_ones_own(tmp_path: Path) -> None:
    again = '[[surface]]\nname = "here"\n[[surface]]\nname = "there"\n[[surface]]\nname = "far"\nhost = "b.example"\n'
    found = faults(tmp_path, again)
    assert [line.split(": ")[1] for line in found] == ["surface[1].name", "surface[2].base_path"]
