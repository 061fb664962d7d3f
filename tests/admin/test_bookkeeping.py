"""The verbs about money and the ledger itself, over a real ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamrouter.admin.bookkeeping import BOOKKEEPING
from streamrouter.admin.verbs import VERBS, AdminError, Desk, perform
from streamrouter.config.schema import Config, SurfaceConfig
from streamrouter.ledger import reports
from tests.ledger.books import HeldClock, command, finished, opened, with_key


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """One user with 10 USD, a settled request (req_done) and an open one that holds 0.315 mUSD."""
    clock = HeldClock()
    async with opened(str(tmp_path / "l.db"), clock) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10_000_000_000)])
        hold = await ledger.reserve(command(key_id=key_id, id="req_done", prepaid=True))
        await ledger.settle_durably(hold, finished(100, 33, cached_tokens=7))
        await ledger.reserve(command(key_id=key_id, id="req_open", prepaid=True))
        yield Desk(ledger, Config(surface=[SurfaceConfig(name="main")]))


async def fails(desk: Desk, verb: str, **args: Any) -> AdminError:
    with pytest.raises(AdminError) as raised:
        await perform(desk, verb, args)
    return raised.value


def test_every_verb_is_in_the_table() -> None:
    assert {name: VERBS[name] for name in BOOKKEEPING} == BOOKKEEPING


async def test_a_refund_never_undercuts_what_is_spent_or_reserved(desk: Desk) -> None:
    balance = await perform(desk, "balance", {"user": "team-a"})
    assert (balance["credited_usd"], balance["spent_usd"]) == ("10.00", "0.000034275")
    assert (balance["reserved_usd"], balance["free_usd"]) == ("0.000315", "9.999650725")
    refused = await fails(desk, "refund", user="team-a", amount="9.999650726")
    assert (refused.code, "neither spent nor reserved" in refused.message) == ("invalid_value", True)
    done = await perform(desk, "refund", {"user": "team-a", "amount": "9.999650725", "ref": "r-1"})
    assert (done["amount_usd"], done["balance_usd"], done["repeated"]) == ("-9.999650725", "0.000315", False)
    again = await perform(desk, "refund", {"user": "team-a", "amount": "9.999650725", "ref": "r-1"})
    assert again == {**done, "repeated": True}
    assert (await perform(desk, "balance", {"user": "team-a"}))["free_usd"] == "0.00"
    for amount in ("0", "-1", "x"):
        assert (await fails(desk, "refund", user="team-a", amount=amount)).code == "invalid_value"


async def test_an_adjustment_goes_both_ways(desk: Desk) -> None:
    assert (await perform(desk, "adjust", {"user": "team-a", "amount": "2.5"}))["amount_usd"] == "2.50"
    assert (await perform(desk, "adjust", {"user": "team-a", "amount": "-1", "ref": "a"}))["kind"] == "adjustment"
    assert "neither spent" in (await fails(desk, "adjust", user="team-a", amount="-12")).message
    assert (await fails(desk, "adjust", user="nobody", amount="1")).code == "not_found"
    assert (await fails(desk, "adjust", user="team-a", amount="1", ref="é")).code == "invalid_value"
    history = (await perform(desk, "balance", {"user": "team-a", "history": True}))["history"]
    assert sorted(line["kind"] for line in history) == ["adjustment", "adjustment", "payment", "usage"]


async def test_an_explanation_leads_from_the_hold_to_the_charge(desk: Desk) -> None:
    told = await perform(desk, "ledger.explain", {"id": "req_done"})
    assert told["held"] == {"input": 100, "output": 500, "usd": "0.000315"}
    assert (told["state"], told["usage_source"], told["leased_output"]) == ("settled", "upstream", 256)
    assert told["lease_steps"] == [256]
    assert told["charged"] == {"input": 100, "cached": 7, "output": 33, "reasoning": 0}
    assert told["price_usd_per_million"] == {"input": "0.15", "cache_read": "0.075", "output": "0.60"}
    assert told["pico_usd"] == 93 * 150_000 + 7 * 75_000 + 33 * 600_000
    assert (told["cost_usd"], told["spent_usd"], told["rounded_up_by_pico_usd"]) == ("0.000034275", "0.000034275", 0)
    running = await perform(desk, "ledger.explain", {"id": "req_open"})
    assert (running["state"], running["closed"], running["cost_usd"], running["pico_usd"]) == ("open", None, "0.00", 0)
    assert (await fails(desk, "ledger.explain", id="req_gone")).code == "not_found"
    json.dumps(told)


async def test_a_report(desk: Desk) -> None:
    (row,) = await perform(desk, "usage.report", {"by": "model", "since": "1d"})
    assert (row["model"], row["requests"], row["input"], row["cost_usd"]) == ("gpt-5.4-mini", 1, 100, "0.000034275")
    for since in ("7", "0d", "-1d", "7h"):
        assert (await fails(desk, "usage.report", by="model", since=since)).code == "invalid_value"
    assert (await fails(desk, "usage.report", by="colour")).code == "invalid_arguments"


async def test_an_export_in_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await perform(desk, "ledger.export", {})
    assert ([row["id"] for row in whole["rows"]], whole["next"]) == (["req_done"], None)
    monkeypatch.setattr("streamrouter.admin.bookkeeping.PAGE", 1)
    assert (await perform(desk, "ledger.export", {"table": "entries"}))["next"] is not None
    assert reports.PAGE > 1


async def test_a_check_names_what_is_wrong(desk: Desk) -> None:
    good = await perform(desk, "ledger.check", {})
    assert good["ok"] and good["invariants"] >= 20
    await desk.ledger.ask(lambda raw: raw.execute("UPDATE usage_day SET posted_input = 1"))
    found = await fails(desk, "ledger.check")
    assert found.code == "ledger_wrong" and "a day's posted tokens" in found.message


async def test_a_backup_is_opened_and_checked(desk: Desk, tmp_path: Path) -> None:
    path = str(tmp_path / "copy.db")
    made = await perform(desk, "ledger.backup", {"path": path})
    assert made == {"path": path, "bytes": Path(path).stat().st_size, "requests": 2, "verified": True}
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM hold").fetchone() == (2,)
    raw.close()
    for where, text in ((path, "exists already"), ("copy.db", "whole path"), (str(tmp_path / "no/x"), "No such file")):
        assert text in (await fails(desk, "ledger.backup", path=where)).message


async def test_a_backup_of_wrong_books_says_so(desk: Desk, tmp_path: Path) -> None:
    await desk.ledger.ask(lambda raw: raw.execute("UPDATE usage_day SET posted_input = 1"))
    found = await fails(desk, "ledger.backup", path=str(tmp_path / "copy.db"))
    assert found.code == "backup_failed" and "is not right" in found.message


async def test_the_day_is_accepted_by_an_operator_only(desk: Desk) -> None:
    assert await perform(desk, "ledger.day", {}) == {"day": "2024-10-04", "alarm": None, "accepted": False}
    clock: Any = desk.ledger._clock
    clock.wall_ns += 30 * 86_400_000_000_000
    kept = await perform(desk, "ledger.day", {})
    assert kept["day"] == "2024-10-04" and "leapt 720 hours" in kept["alarm"]
    taken = await perform(desk, "ledger.day", {"accept": True})
    assert taken == {"day": "2024-11-03", "alarm": None, "accepted": True}


async def test_a_key_with_a_reference_is_made_once(desk: Desk) -> None:
    made = await perform(desk, "key.create", {"user": "team-a", "ref": "k-1"})
    again = await perform(desk, "key.create", {"user": "team-a", "ref": "k-1"})
    assert (made["repeated"], again["repeated"], again["key"], again["id"]) == (False, True, None, made["id"])
    assert made["key"].startswith("sk-")
    refused = await fails(desk, "key.create", user="team-a", ref="k-1", concurrency=3)
    assert "another key of team-a" in refused.message
    assert len(await perform(desk, "key.list", {"user": "team-a"})) == 2
