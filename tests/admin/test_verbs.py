"""Every verb of the table, over a real ledger: what it does, what it gives back, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamrouter.admin.verbs import VERBS, AdminError, Desk, perform
from streamrouter.clock import SystemClock
from streamrouter.config.schema import Config, DefaultsConfig, LedgerConfig, ModelConfig, SurfaceConfig
from streamrouter.ids import secret_hash
from streamrouter.ledger.ledger import Ledger

TOKENS = SurfaceConfig(name="ours")
PREPAID = SurfaceConfig(
    name="wl",
    base_path="/wl/v1",
    key_prefix="wl_",
    billing="prepaid",
    concurrency=4,
    topup_minimum="10",
    topup_fee_percent="5",
)
CONFIG = Config(models={"gpt-4o": ModelConfig(), "demo": ModelConfig()}, surface=[TOKENS, PREPAID])
CAPS = ("input_per_request", "output_per_request", "daily_input", "daily_output", "requests_per_minute", "models")


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(
        str(tmp_path / "l.db"), config=LedgerConfig(durability="normal"), clock=SystemClock(), on_fatal=pytest.fail
    )
    yield opened
    await opened.close()


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    return Desk(ledger, CONFIG)


async def refusal(desk: Desk, verb: str, args: Any) -> AdminError:
    with pytest.raises(AdminError) as raised:
        await perform(desk, verb, args)
    return raised.value


async def test_a_new_user_has_no_caps_and_no_balance(desk: Desk) -> None:
    made = await perform(desk, "user.create", {"user": "alice"})
    assert made["user"] == "alice"
    assert made["status"] == "active"
    assert [made[cap] for cap in CAPS] == [None] * len(CAPS)
    assert (made["balance_usd"], made["unlimited"]) == ("0.00", False)
    assert await perform(desk, "user.list", {}) == [made]


async def test_a_new_user_takes_the_defaults_unless_told_otherwise(ledger: Ledger) -> None:
    defaults = DefaultsConfig(daily_input=1000, daily_output=500, models=["demo"], unlimited=True)
    desk = Desk(ledger, msgspec.structs.replace(CONFIG, defaults=defaults))
    made = await perform(desk, "user.create", {"user": "bob", "daily_output": None, "requests_per_minute": 6})
    assert [made[cap] for cap in CAPS] == [None, None, 1000, None, 6, ["demo"]]
    assert made["unlimited"] is True


async def test_set_changes_what_is_named_and_nothing_else(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob", "daily_input": 7, "daily_output": 8})
    changed = await perform(desk, "user.set", {"user": "bob", "daily_input": None, "models": ["gpt-4o"]})
    assert (changed["daily_input"], changed["daily_output"], changed["models"]) == (None, 8, ["gpt-4o"])
    assert "nothing to set" in (await refusal(desk, "user.set", {"user": "bob"})).message


async def test_disable_and_enable(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    assert (await perform(desk, "user.disable", {"user": "bob"}))["status"] == "disabled"
    assert (await perform(desk, "user.enable", {"user": "bob"}))["status"] == "active"


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "a\x1b[31m", "a\u202eb", "x" * 65])
async def test_a_name_is_one_visible_word(desk: Desk, name: str) -> None:
    assert (await refusal(desk, "user.create", {"user": name})).code in ("invalid_value", "invalid_arguments")
    assert await perform(desk, "user.list", {}) == []


async def test_a_name_is_taken_once(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    assert (await refusal(desk, "user.create", {"user": "bob"})).code == "invalid_value"


async def test_an_allow_list_holds_known_models_only(desk: Desk) -> None:
    error = await refusal(desk, "user.create", {"user": "bob", "models": ["gpt-4"]})
    assert error.code == "invalid_value"
    assert "did you mean 'gpt-4o'?" in error.message
    made = await perform(desk, "user.create", {"user": "bob", "models": ["any/thing:free", "demo"]})
    assert made["models"] == ["any/thing:free", "demo"]


async def test_a_key_is_shown_once_and_nowhere_else(desk: Desk, ledger: Ledger) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    made = await perform(desk, "key.create", {"user": "bob"})
    secret = made.pop("key")
    assert secret.startswith("sk-")
    assert (made["surface"], made["concurrency"], made["models"], made["warnings"]) == ("ours", None, None, [])
    found = ledger.key_by_hash(secret_hash(secret))
    assert found is not None and found[0].id == made["id"]
    everything = json.dumps([await perform(desk, "key.list", {"user": "bob"}), await perform(desk, "user.list", {})])
    assert secret not in everything
    assert made["display"] in json.loads(everything)[0][0]["display"]


async def test_a_key_takes_prefix_and_concurrency_from_its_surface(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    made = await perform(desk, "key.create", {"user": "bob", "surface": "wl"})
    assert made["key"].startswith("wl_")
    assert made["concurrency"] == 4
    free = await perform(desk, "key.create", {"user": "bob", "surface": "wl", "concurrency": None})
    assert free["concurrency"] is None
    assert "did you mean 'ours'?" in (await refusal(desk, "key.create", {"user": "bob", "surface": "our"})).message


async def test_a_key_that_will_not_work_as_meant_is_warned_of(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob", "models": ["demo"]})
    await perform(desk, "user.disable", {"user": "bob"})
    made = await perform(desk, "key.create", {"user": "bob", "models": ["demo", "gpt-4o"]})
    assert ["disabled" in made["warnings"][0], "may not use gpt-4o" in made["warnings"][1]] == [True, True]


async def test_rotate_keeps_the_rights_and_kills_the_old_key(desk: Desk, ledger: Ledger) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    old = await perform(desk, "key.create", {"user": "bob", "surface": "wl", "models": ["demo"], "concurrency": 2})
    new = await perform(desk, "key.rotate", {"id": old["id"]})
    assert new["key"] != old["key"] and new["key"].startswith("wl_")
    assert [new[part] for part in ("user", "surface", "models", "concurrency")] == ["bob", "wl", ["demo"], 2]
    assert new["replaces"] == old["id"]
    found = ledger.key_by_hash(secret_hash(old["key"]))
    assert found is None or found[0].status == "revoked"


async def test_revoke_stops_streams_only_when_told_to(ledger: Ledger) -> None:
    stopped: list[str] = []

    def stop(key_id: str) -> int:
        stopped.append(key_id)
        return 3

    desk = Desk(ledger, CONFIG, stop)
    await perform(desk, "user.create", {"user": "bob"})
    first, second = [await perform(desk, "key.create", {"user": "bob"}) for _ in range(2)]
    gone = await perform(desk, "key.revoke", {"id": first["id"]})
    assert (gone["status"], gone["streams_stopped"], stopped) == ("revoked", 0, [])
    gone = await perform(desk, "key.revoke", {"id": second["id"], "now": True})
    assert (gone["user"], gone["streams_stopped"], stopped) == ("bob", 3, [second["id"]])


async def test_topup_books_payment_and_fee(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    await perform(desk, "key.create", {"user": "bob", "surface": "wl"})
    done = await perform(desk, "topup", {"user": "bob", "amount": "10", "ref": "inv-1"})
    assert done == {
        "user": "bob",
        "paid_usd": "10.50",
        "fee_usd": "0.50",
        "credited_usd": "10.00",
        "balance_usd": "10.00",
        "ref": "inv-1",
        "repeated": False,
    }
    again = await perform(desk, "topup", {"user": "bob", "amount": "10", "ref": "inv-1"})
    assert again == {**done, "repeated": True}
    other = await refusal(desk, "topup", {"user": "bob", "amount": "11", "ref": "inv-1"})
    assert (other.code, "inv-1" in other.message) == ("invalid_value", True)
    assert (await perform(desk, "usage", {"user": "bob"}))["balance_usd"] == "10.00"


async def test_a_reference_is_printable_ascii(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    for ref in ("a\nb", "é"):
        assert "printable ASCII" in (await refusal(desk, "topup", {"user": "bob", "amount": "10", "ref": ref})).message


async def test_topup_terms_are_those_of_the_users_keys(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    assert "10.00" in (await refusal(desk, "topup", {"user": "bob", "amount": "1"})).message
    await perform(desk, "key.create", {"user": "bob", "surface": "ours"})
    done = await perform(desk, "topup", {"user": "bob", "amount": "0.000000001"})
    assert (done["fee_usd"], done["balance_usd"]) == ("0.00", "0.000000001")


@pytest.mark.parametrize("amount", ["0", "-1", "1e3", "0.1", "1,5", "NaN", "10.0000000001", "99999999999", "10 ", ""])
async def test_an_amount_is_a_plain_decimal_above_the_minimum(desk: Desk, amount: str) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    assert (await refusal(desk, "topup", {"user": "bob", "amount": amount})).code.startswith("invalid_")
    assert (await perform(desk, "usage", {"user": "bob"}))["balance_usd"] == "0.00"


async def test_usage_of_a_user(desk: Desk) -> None:
    await perform(desk, "user.create", {"user": "bob", "daily_input": 2**53 - 1, "unlimited": True})
    usage = await perform(desk, "usage", {"user": "bob"})
    assert len(usage.pop("day")) == 10
    assert usage == {
        "user": "bob",
        "input": {"used": 0, "reserved": 0, "cap": 2**53 - 1},
        "output": {"used": 0, "reserved": 0, "cap": None},
        "balance_usd": "0.00",
        "spent_usd": "0.00",
        "reserved_usd": "0.00",
        "in_flight": 0,
        "unlimited": True,
    }


async def test_status_says_who_serves(desk: Desk) -> None:
    status = await perform(desk, "status", {})
    assert status["pid"] > 0
    assert status["health"] is None


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("user.set", {"user": "nobody", "daily_input": 1}),
        ("user.disable", {"user": "nobody"}),
        ("user.enable", {"user": "nobody"}),
        ("key.create", {"user": "nobody"}),
        ("key.list", {"user": "nobody"}),
        ("key.revoke", {"id": "key_none"}),
        ("key.rotate", {"id": "key_none"}),
        ("topup", {"user": "nobody", "amount": "10"}),
        ("usage", {"user": "nobody"}),
    ],
)
async def test_what_does_not_exist_is_not_found(desk: Desk, verb: str, args: Any) -> None:
    assert (await refusal(desk, verb, args)).code == "not_found"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("user.create", {"user": "bob", "credited": 10**9}),
        ("user.create", {"user": "bob", "daily_input": -1}),
        ("user.create", {"user": "bob", "daily_input": "7"}),
        ("user.create", {"user": "bob", "daily_input": True}),
        ("user.create", {"user": "bob", "daily_input": 2**53}),
        ("user.create", {"user": "bob", "requests_per_minute": 0}),
        ("user.create", {"user": "bob", "unlimited": None}),
        ("user.create", {}),
        ("user.create", []),
        ("user.create", None),
        ("key.create", {"user": "bob", "status": "active"}),
        ("key.create", {"user": "bob", "concurrency": 0}),
        ("topup", {"user": "bob", "amount": 10}),
        ("topup", {"user": "bob", "amount": "10", "ref": ""}),
        ("topup", {"user": "bob", "amount": "10", "fee": "0"}),
    ],
)
async def test_arguments_are_strict(desk: Desk, verb: str, args: Any) -> None:
    assert (await refusal(desk, verb, args)).code == "invalid_arguments"
    assert await perform(desk, "user.list", {}) == []


async def test_every_verb_refuses_a_field_that_it_does_not_know(desk: Desk) -> None:
    for verb in VERBS:
        assert (await refusal(desk, verb, {"surprise": 1})).code == "invalid_arguments"


async def test_an_unknown_verb_names_the_nearest(desk: Desk) -> None:
    error = await refusal(desk, "user.delete", {})
    assert (error.code, "did you mean" in error.message) == ("unknown_verb", True)


async def test_a_keys_list_and_cap_are_set_and_audited(desk: Desk, ledger: Ledger) -> None:
    await perform(desk, "user.create", {"user": "bob"})
    key = await perform(desk, "key.create", {"user": "bob", "models": ["demo"], "concurrency": 2})
    changed = await perform(desk, "key.set", {"id": key["id"], "concurrency": None})
    assert (changed["user"], changed["models"], changed["concurrency"]) == ("bob", ["demo"], None)
    changed = await perform(desk, "key.set", {"id": key["id"], "models": ["gpt-4o"], "concurrency": 7})
    assert (changed["models"], changed["concurrency"]) == (["gpt-4o"], 7)
    found = ledger.key_by_hash(secret_hash(key["key"]))
    assert found is not None and (found[0].models, found[0].concurrency) == (["gpt-4o"], 7)
    [line, *_] = (await perform(desk, "audit.list", {}))["data"]
    assert (line["action"], line["subject"], line["detail"]) == (
        "key_set",
        key["id"],
        {"models": ["gpt-4o"], "concurrency": 7},
    )
    assert (await refusal(desk, "key.set", {"id": key["id"]})).code == "invalid_value"
    assert "did you mean" in (await refusal(desk, "key.set", {"id": key["id"], "models": ["gpt-4"]})).message
    assert (await refusal(desk, "key.set", {"id": "key_none", "concurrency": 1})).code == "not_found"


async def test_keys_of_everybody(desk: Desk) -> None:
    for name in ("bob", "ann"):
        await perform(desk, "user.create", {"user": name})
        await perform(desk, "key.create", {"user": name})
    assert sorted(key["user"] for key in await perform(desk, "key.list", {})) == ["ann", "bob"]
