"""configs/all.toml: five documented APIs and our own in one process, on one ledger, the same as in their own files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamrouter.config.load import load
from streamrouter.config.schema import Config
from tests.conformance.shipped import CONFIGS, Answer, Api, serving
from tests.conformance.wire import request

SINGLE = ["streamrouter", "wrees", "wlrouter", "weryai", "wrift", "gyld"]
MODEL = {
    "streamrouter": "gpt-4.1-mini",
    "wrees": "gpt-5.4-mini",
    "wlrouter": "gpt-4.1-mini",
    "weryai": "GEMINI_25_FLASH",
    "wrift": "openai/gpt-4.1-mini",
    "gyld": "fitness",
}
BASE = {name: f"/{name}/v1" for name in SINGLE} | {"streamrouter": "/v1", "gyld": "/gyld/api/v1"}


def config_of(name: str) -> Config:
    return load(str(CONFIGS / f"{name}.toml"), {}, {}).config


ALL = config_of("all")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving("all", tmp_path_factory.mktemp("all"), "/v1", "gpt-4.1-mini") as served:
        yield served


@pytest.fixture(scope="module")
def keys(api: Api) -> dict[str, str]:
    """One account's key on each surface, with money for the one that wants it."""
    api.server.cli("user", "create", "everywhere", "--unlimited")
    return {name: api.server.cli("key", "create", "everywhere", "--surface", name)["key"] for name in SINGLE}


async def ask(api: Api, surface: str, key: str, **members: Any) -> Answer:
    body = {"model": MODEL[surface], "messages": [{"role": "user", "content": "Hi"}], **members}
    return Answer(*await request(api.server, "POST", BASE[surface] + "/chat/completions", key=key, body=body))


@pytest.mark.parametrize("name", SINGLE)
def test_each_surface_and_its_models_are_those_of_its_own_file(name: str) -> None:
    own = config_of(name)
    [surface] = [surface for surface in ALL.surface if surface.name == name]
    assert surface.models == list(own.models)
    assert surface.base_path == BASE[name]
    assert msgspec.structs.replace(surface, models=None, base_path=own.surface[0].base_path) == own.surface[0]
    assert {model: ALL.models[model] for model in own.models} == own.models
    assert own.upstreams == ALL.upstreams
    assert (own.server, own.ledger, own.defaults) == (ALL.server, ALL.ledger, ALL.defaults)


def test_there_is_nothing_else() -> None:
    assert [surface.name for surface in ALL.surface] == SINGLE
    assert set(ALL.models) == {model for name in SINGLE for model in config_of(name).models}


async def test_every_surface_answers_where_it_is_mounted(api: Api, keys: dict[str, str]) -> None:
    for name in SINGLE:
        answer = await ask(api, name, keys[name])
        assert (answer.status, answer.json["model"]) == (200, MODEL[name]), name
        listed = Answer(*await request(api.server, "GET", BASE[name] + "/models", key=keys[name])).json
        assert [model["id"] for model in listed["data"]] == list(config_of(name).models)


async def test_a_key_of_one_surface_is_refused_on_another(api: Api, keys: dict[str, str]) -> None:
    prefixes = {surface.name: surface.key_prefix for surface in ALL.surface}
    for name in SINGLE:
        assert keys[name].startswith(prefixes[name])
        for other in SINGLE:
            if other != name:
                assert (await ask(api, other, keys[name])).status == 401


async def test_a_surface_serves_its_own_models_only(api: Api, keys: dict[str, str]) -> None:
    for name in ("streamrouter", "wlrouter", "weryai", "gyld"):
        for other in ("wrees", "weryai", "wrift", "gyld"):
            if other != name and MODEL[other] not in config_of(name).models:
                assert (await ask(api, name, keys[name], model=MODEL[other])).status == 404


async def test_refusals_are_in_the_words_of_the_surface_that_they_happen_on(api: Api) -> None:
    for name, (status, top) in {"wrees": (400, "error"), "wrift": (404, "detail"), "gyld": (404, "error")}.items():
        answer = Answer(*await request(api.server, "GET", BASE[name] + "/nothing"))
        assert (answer.status, top in answer.json) == (status, True)
        unseen = Answer(*await request(api.server, "PROPFIND", BASE[name] + "/models"))
        assert (unseen.status, top in unseen.json) == (400 if name == "wrees" else 405, True)
    assert Answer(*await request(api.server, "GET", "/nothing")).status == 404


async def test_caps_are_per_account_across_surfaces(api: Api) -> None:
    api.server.cli("user", "create", "capped", "--daily-output", "1000")
    ours, theirs = (
        api.server.cli("key", "create", "capped", "--surface", name)["key"] for name in ("streamrouter", "weryai")
    )
    first = await ask(api, "streamrouter", ours, max_tokens=900)
    assert first.status == 200
    used = first.json["usage"]["completion_tokens"]
    # what is left of the day is what the other surface may still ask for
    assert (await ask(api, "weryai", theirs, max_tokens=1000)).status == 200
    assert api.upstream.seen[-1].body["max_tokens"] == 1000 - used
    api.server.cli("user", "set", "capped", "--daily-output", "2")
    for name, key in (("streamrouter", ours), ("weryai", theirs)):
        refused = await ask(api, name, key)
        assert (refused.status, refused.error["code"]) == (429, "daily_output_tokens_exceeded")
