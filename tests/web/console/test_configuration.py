from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from streamrouter.config.schema import LedgerConfig, ServerConfig, UpstreamConfig
from streamrouter.web.console.answers import server
from streamrouter.web.console.configuration import REDACTED, redacted, without_userinfo
from tests.support.admin_api import AdminApi, admin_api
from tests.support.asgi import CONFIG

CANARY = "canary-5ecret"
FULL = replace(
    CONFIG,
    server=ServerConfig(tls_cert="/etc/cert.pem", tls_key="/etc/key.pem"),
    upstreams={
        "up": UpstreamConfig(
            base_url=f"https://user:{CANARY}@host.example:8443/v1?key={CANARY}",
            api_key=CANARY,
            headers={"x-custom": CANARY, "authorization": f"Bearer {CANARY}"},
        )
    },
)


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with admin_api(tmp_path, config=FULL) as made:
        yield made


async def test_the_configuration_without_its_secrets(api: AdminApi) -> None:
    found = await api.read(server.Configuration, "/config")
    assert CANARY not in json.dumps(await api.get("/config"))
    assert found.path == "built in"
    upstream = found.config["upstreams"]["up"]
    assert upstream["api_key"] == REDACTED
    assert upstream["headers"] == {"x-custom": REDACTED, "authorization": REDACTED}
    assert upstream["base_url"] == "https://host.example:8443/v1"
    assert found.config["server"]["tls_key"] == "/etc/key.pem"
    assert found.config["surface"][0]["key_prefix"] == "sk-"
    assert [surface.name for surface in found.surfaces] == ["main"]


def test_what_is_named_like_a_secret_is_one() -> None:
    from_later = {"webhook": {"signing_secret": CANARY, "api_keys": [CANARY], "token": CANARY, "password": ""}}
    tree = redacted(replace(CONFIG, models={"m": replace(CONFIG.models["test"], defaults=from_later)}))
    assert CANARY not in json.dumps(tree)
    assert tree["models"]["m"]["defaults"]["webhook"]["password"] == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("demo:", "demo:"),
        ("http://a:1/v1", "http://a:1/v1"),
        ("http://u:p@a/v1", "http://a/v1"),
        ("http://u@[::1]:9/v1#x", "http://[::1]:9/v1"),
        ("http://[broken", REDACTED),
    ],
)
def test_an_address_without_who_signs_in_there(url: str, shown: str) -> None:
    assert without_userinfo(url) == shown


async def test_the_audit_by_pages(api: AdminApi) -> None:
    whole = await api.get("/audit")
    found, cursor = [], ""
    while True:
        page = await api.get("/audit", limit=2, cursor=cursor)
        found += page["data"]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert found == whole["data"]
    assert found[-1]["action"] == "account_created"
    assert (await api.call("GET", "/audit", query={"cursor": "-1"})).status == 400
    await api.read(server.AuditLog, "/audit")


async def test_whether_the_books_are_right(api: AdminApi) -> None:
    found = await api.read(server.Books, "/ledger")
    assert (found.ok, found.faults, found.alarm, found.health) == (True, [], None, None)
    await api.spend()
    await api.rig.ledger.ask(lambda raw: raw.execute("UPDATE usage_day SET posted_output = posted_output + 1"))
    broken = await api.read(server.Books, "/ledger")
    assert (broken.ok, bool(broken.faults)) == (False, True)


def test_a_databases_address_is_shown_without_its_password() -> None:
    """A question mark in a password ends it for what reads any URL; libpq reads on to the @."""
    url = f"postgresql://books:{CANARY}?{CANARY}@db/books?sslmode=require&password={CANARY}"
    assert redacted(replace(CONFIG, ledger=LedgerConfig(path=url)))["ledger"]["path"] == (
        "postgresql://books@db/books?sslmode=require"
    )
