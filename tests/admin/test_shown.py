from __future__ import annotations

import json

from streamrouter.admin.shown import CAPS, account_shown, key_shown
from streamrouter.admin.verbs import UserCaps
from tests.ledger.books import account, key


def test_the_caps_that_are_shown_are_those_that_can_be_set() -> None:
    assert UserCaps.__struct_fields__[1:] == CAPS


def test_an_account_in_plain_json() -> None:
    found = account_shown(account(daily_input=2**53 + 1, credited=5 * 10**9, spent=10**9, models=["a"]))
    assert (found["daily_input"], found["balance_usd"], found["models"]) == ("9007199254740993", "4.00", ["a"])
    json.dumps(found)


def test_a_key_without_its_hash() -> None:
    found = key_shown(key(hash=b"hash", revoked_ns=10**18, status="revoked"), "team-a")
    assert "hash" not in json.dumps(found)
    assert (found["user"], found["status"], found["revoked"]) == ("team-a", "revoked", "2001-09-09T01:46:40Z")
