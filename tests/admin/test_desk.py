from __future__ import annotations

from pathlib import Path

import pytest

from streamrouter.admin.desk import check_ref, find, number, when
from streamrouter.clock import SystemClock
from streamrouter.config.schema import LedgerConfig
from streamrouter.ledger.ledger import Ledger


def test_what_a_double_cannot_hold_leaves_as_text() -> None:
    assert [number(value) for value in (2**53, 2**53 + 1, -(2**53) - 1, "7", None)] == [
        2**53,
        "9007199254740993",
        "-9007199254740993",
        "7",
        None,
    ]


def test_a_moment_is_told_to_the_second() -> None:
    assert when(1_799_999_999_999_999_999) == "2027-01-15T07:59:59Z"


@pytest.mark.parametrize("ref", ["é", "a\n"])
def test_a_reference_is_printable(ref: str) -> None:
    check_ref(None)
    check_ref("inv-7")
    with pytest.raises(ValueError, match="printable ASCII"):
        check_ref(ref)


async def test_accounts_are_found_by_name_or_id(tmp_path: Path) -> None:
    config = LedgerConfig(durability="normal")
    ledger = await Ledger.open(str(tmp_path / "l.db"), config=config, clock=SystemClock(), on_fatal=pytest.fail)
    made = await ledger.create_account("team-a", {})
    assert (await find(ledger, "team-a")).id == (await find(ledger, made.id)).id == made.id
    with pytest.raises(LookupError, match="no user 'nobody'"):
        await find(ledger, "nobody")
    await ledger.close()
