"""A surface's pages over a real ledger: models, usage, what NextChat asks for the balance."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from streamrouter.config.schema import SurfaceConfig
from streamrouter.web.surface import left
from tests.support.asgi import CONFIG, ask, running

PAGES = ["models", "chat/models", "models/test", "usage", "dashboard/billing/subscription", "dashboard/billing/usage"]
PREPAID = replace(CONFIG, surface=[SurfaceConfig(name="main", billing="prepaid")])


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_needs_a_key_of_its_surface(tmp_path: Path, page: str) -> None:
    async with running(tmp_path) as rig:
        for path in (f"/v1/{page}", f"/{page}"):
            assert (await ask(rig.app.asgi, "GET", path)).code == "missing_api_key"
            assert (await rig.get(path, secret="sk-nobody")).code == "invalid_api_key"
            answer = await rig.get(path)
            assert answer.status == 200
            assert answer.headers["cache-control"] == "no-store"
        await rig.ledger.revoke_key(rig.key_id)
        assert (await rig.get(f"/v1/{page}")).status == 401


async def test_models_are_what_clients_read(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        listed = (await rig.get("/v1/models")).json
        assert listed["object"] == "list"
        assert listed["data"][0] == {
            "id": "test",
            "object": "model",
            "created": rig.clock.now_ns() // 10**9,
            "owned_by": "streamrouter",
            "name": "test",
            "context_length": 1000,
            "max_output_tokens": 200,
            "pricing": {"input": "0", "output": "0", "cache_read": "0"},
        }
        assert (await rig.get("/v1/models/org/other:1")).json == listed["data"][1]
        assert (await rig.get("/v1/chat/models")).json["data"][1] == {
            "model": "org/other:1",
            "key": "org/other:1",
            "name": "Other",
            "max_tokens": 16384,
        }


async def test_a_key_sees_its_own_models_only(tmp_path: Path) -> None:
    async with running(tmp_path, models=["test"]) as rig:
        assert [model["id"] for model in (await rig.get("/v1/models")).json["data"]] == ["test"]
        assert [model["key"] for model in (await rig.get("/v1/chat/models")).json["data"]] == ["test"]
        for name in ("org/other:1", "none", "te\u200bst"):
            answer = await rig.get(f"/v1/models/{name}")
            assert answer.status in (400, 404)
        assert (await rig.get("/v1/models/org/other:1")).code == "model_not_found"


async def test_usage_counts_what_was_charged_and_what_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, daily_input=1000, daily_output=1000) as rig:
        before = (await rig.get("/v1/usage")).json
        assert before["output"] == {"used": 0, "reserved": 0, "cap": 1000, "left": 1000}
        assert (await rig.post({})).status == 200
        after = (await rig.get("/v1/usage")).json
        assert after["input"] == {"used": 7, "reserved": 0, "cap": 1000, "left": 993}
        assert after["output"] == {"used": 3, "reserved": 0, "cap": 1000, "left": 997}
        assert (after["in_flight"], after["unlimited"]) == (0, False)


async def test_the_balance(tmp_path: Path) -> None:
    async with running(tmp_path, config=PREPAID) as rig:
        await rig.ledger.credit("team-a", [("payment", 2_500_000_000)])
        assert (await rig.get("/v1/usage")).json["balance_usd"] == "2.50"
        assert (await rig.get("/v1/dashboard/billing/subscription")).json["hard_limit_usd"] == 2.5
        assert (await rig.get("/dashboard/billing/usage")).json["total_usage"] == 0


async def test_an_unlimited_account_has_a_limit_for_who_needs_one(tmp_path: Path) -> None:
    async with running(tmp_path, unlimited=True) as rig:
        assert (await rig.get("/v1/dashboard/billing/subscription")).json["hard_limit_usd"] > 10**6
        assert (await rig.get("/v1/usage")).json["unlimited"] is True


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ({"used": 5, "reserved": 2, "cap": 10}, 3),
        ({"used": 9, "reserved": 2, "cap": 10}, 0),
        ({"used": 0, "reserved": 0, "cap": 0}, 0),
        ({"used": 5, "reserved": 2, "cap": None}, None),
    ],
)
def test_what_is_left_of_a_cap(tokens: dict[str, int | None], found: int | None) -> None:
    assert left(tokens) == found
