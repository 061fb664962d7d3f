"""``streamrouter topup`` and ``streamrouter usage``."""

from __future__ import annotations

from tests.cli.conftest import Command


def test_topup_with_a_reference_happens_once(command: Command) -> None:
    command.json("user", "create", "bob")
    command.json("key", "create", "bob", "--surface", "wl")
    done = command.json("topup", "bob", "10", "--ref", "inv-7")
    assert (done["paid_usd"], done["fee_usd"], done["balance_usd"]) == ("10.50", "0.50", "10.00")
    assert command.text("topup", "bob", "10", "--ref", "inv-7").splitlines() == [
        "bob: already done: paid 10.50 USD, fee 0.50, credited 10.00.",
        "Balance: 10.00 USD",
    ]
    assert command.json("topup", "bob", "12.5")["balance_usd"] == "22.50"


def test_topup_refuses_what_is_no_amount(command: Command) -> None:
    command.json("user", "create", "bob")
    command.json("key", "create", "bob", "--surface", "wl")
    assert "least top-up is 10.00 USD" in command.error("topup", "bob", "9.99")[1]["message"]
    for amount in ("0", "1e3", "ten", "1,000"):
        assert command.error("topup", "bob", amount)[0] == 1


def test_usage_for_programs(command: Command) -> None:
    command.json("user", "create", "bob", "--daily-input", "1000")
    usage = command.json("usage", "bob")
    assert {"day", "input", "output", "balance_usd", "spent_usd", "in_flight"} <= set(usage)
    assert usage["input"] == {"used": 0, "reserved": 0, "cap": 1000}
    assert usage["output"] == {"used": 0, "reserved": 0, "cap": None}


def test_usage_for_people(command: Command) -> None:
    command.json("user", "create", "bob", "--daily-input", "1000", "--unlimited")
    first, heading, inputs, outputs, balance = command.text("usage", "bob").splitlines()
    assert first.startswith("bob on 2")
    assert heading.split() == ["tokens", "used", "reserved", "cap", "left"]
    assert inputs.split() == ["input", "0", "0", "1,000", "1,000"]
    assert outputs.split() == ["output", "0", "0", "none", "-"]
    assert balance == "Balance: unlimited, spent 0.00 USD"
