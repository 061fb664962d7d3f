"""Where everything is: one surface and several, with and without /v1, by host; and what is nowhere."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import ServerConfig, SurfaceConfig
from streamrouter.web.routes import COMPLETIONS, prefixes
from tests.support.asgi import CONFIG, Rig, ask, running

A, B = ("host", "a.example:8000"), ("host", "B.example")
CHAT = "https://chat.example.org"


@pytest.mark.parametrize(
    ("base", "found"),
    [("/v1", ["/v1", ""]), ("/wrees/v1", ["/wrees/v1", "/wrees"]), ("/api", ["/api"]), ("/apiv1", ["/apiv1"])],
)
def test_the_prefixes_of_a_surface(base: str, found: list[str]) -> None:
    assert prefixes(SurfaceConfig(base_path=base)) == found


def surfaces(*made: dict[str, Any]) -> Any:
    return replace(CONFIG, surface=[SurfaceConfig(**each) for each in made])


async def key_of(rig: Rig, surface: str) -> str:
    return (await rig.ledger.create_key("team-a", surface, "sk-", None, None))[1]


async def owner(rig: Rig, path: str, secrets: dict[str, str], *headers: tuple[str, str]) -> str:
    """Which surface answers at ``path``: the one whose key is good there; "" where nothing is."""
    good = []
    for name, secret in secrets.items():
        if path.endswith(COMPLETIONS):
            pairs = [("authorization", f"Bearer {secret}"), *headers]
            status = (await ask(rig.app.asgi, "POST", path, pairs)).status
        else:
            status = (await rig.get(path, *headers, secret=secret)).status
        assert status in (200, 401, 404, 415)
        good += [name] if status in (200, 415) else []
    return " ".join(good)


@pytest.mark.parametrize("page", ["/models", "/usage", COMPLETIONS])
async def test_surfaces_side_by_side(tmp_path: Path, page: str) -> None:
    config = surfaces(
        {"name": "main"}, {"name": "wrees", "base_path": "/wrees/v1"}, {"name": "api", "base_path": "/api"}
    )
    async with running(tmp_path, config=config) as rig:
        secrets = {"main": rig.secret, "wrees": await key_of(rig, "wrees"), "api": await key_of(rig, "api")}
        where = {"/v1": "main", "": "main", "/wrees/v1": "wrees", "/wrees": "wrees", "/api": "api", "/api/v1": ""}
        assert {prefix: await owner(rig, prefix + page, secrets) for prefix in where} == where


@pytest.mark.parametrize("page", ["/models", "/usage", COMPLETIONS])
async def test_surfaces_by_host(tmp_path: Path, page: str) -> None:
    """Each host's surface has its own pages, not only its own completions, and its own short paths."""
    config = surfaces(
        {"name": "main"}, {"name": "a", "host": "A.example"}, {"name": "b", "host": "b.example", "base_path": "/b/v1"}
    )
    async with running(tmp_path, config=config) as rig:
        secrets = {"main": rig.secret, "a": await key_of(rig, "a"), "b": await key_of(rig, "b")}
        table = {
            ("/v1", None): "main",
            ("/v1", ("host", "elsewhere.example")): "main",
            ("/v1", A): "a",
            ("", A): "a",
            ("/b/v1", A): "",
            ("/b/v1", B): "b",
            ("/b", B): "b",
            ("/v1", B): "main",
            ("/b/v1", None): "",
        }
        found = {
            (prefix, host): await owner(rig, prefix + page, secrets, *([host] if host else []))
            for prefix, host in table
        }
        assert found == table


async def test_a_base_path_is_not_taken_by_the_short_form_of_another(tmp_path: Path) -> None:
    config = surfaces({"name": "long", "base_path": "/x/v1"}, {"name": "short", "base_path": "/x"})
    async with running(tmp_path, config=config) as rig:
        secrets = {"long": rig.secret, "short": await key_of(rig, "short")}
        assert await owner(rig, "/x/models", secrets) == "short"
        assert await owner(rig, "/x" + COMPLETIONS, secrets) == "short"
        assert await owner(rig, "/x/v1/models", secrets) == "long"


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/", 404, "base path"),
        ("GET", "/v1", 404, "base path"),
        ("GET", "/v1/models/", 404, "does not exist"),
        ("GET", "/V1/models", 404, "base path"),
        ("POST", "/v1/chat/completions/", 404, "base path"),
        ("POST", "/v1/v1/chat/completions", 404, "/v1 twice"),
        ("GET", "/v1/v1/models", 404, "/v1 twice"),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "method"),
        ("DELETE", "/v1/usage", 405, "method"),
    ],
)
async def test_what_is_not_there(tmp_path: Path, method: str, path: str, status: int, told: str) -> None:
    async with running(tmp_path) as rig:
        answer = await ask(rig.app.asgi, method, path, [("authorization", f"Bearer {rig.secret}")])
        assert answer.status == status
        assert told in answer.json["error"]["message"]
        assert answer.json["error"]["request_id"] == answer.headers["x-request-id"]
        assert ("allow" in answer.headers) == (status == 405)  # RFC 9110 section 15.5.6


async def test_every_answer_carries_cors_and_every_path_takes_a_preflight(tmp_path: Path) -> None:
    config = replace(CONFIG, server=ServerConfig(cors_origins=[CHAT]))
    async with running(tmp_path, config=config) as rig:
        for path in ("/v1/models", "/v1/nowhere", "/v1/models/none"):
            answer = await rig.get(path, ("origin", CHAT))
            assert answer.headers["access-control-allow-origin"] == CHAT
        for body in ({}, {"model": "none"}, {"stream": True}):
            answer = await rig.post(body, ("origin", CHAT))
            assert answer.headers["access-control-allow-origin"] == CHAT
        answer = await ask(rig.app.asgi, "OPTIONS", "/v1/chat/completions", [("origin", CHAT)])
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, CHAT)


async def test_a_bug_in_a_page_is_a_clean_500(tmp_path: Path) -> None:
    class Broken:
        """A catalogue with a fault."""

        def visible(self, allowed: object) -> None:
            raise ZeroDivisionError("secret at http://10.0.0.1")

    async with running(tmp_path) as rig:
        rig.app.gateway.catalog = Broken()  # type: ignore[assignment]

        async def app(scope: Any, receive: Any, send: Any) -> None:
            with suppress(ZeroDivisionError):
                await rig.app.asgi(scope, receive, send)

        answer = await ask(app, "GET", "/v1/models", [("authorization", f"Bearer {rig.secret}")])
        assert (answer.status, answer.code) == (500, "internal_error")
        assert b"secret" not in answer.body
