from __future__ import annotations

from streamrouter.ledger import denials
from tests.ledger.books import DAY, NOON_NS, account, key


def test_seconds_to_midnight_follow_the_ledgers_day() -> None:
    assert denials.seconds_to_midnight(NOON_NS, DAY) == 43_200
    assert denials.seconds_to_midnight(NOON_NS, DAY + 1) == 43_200 + 86_400
    assert denials.seconds_to_midnight(NOON_NS, DAY - 30) == 43_200


def test_a_wait_is_told_in_whole_seconds_and_at_least_one() -> None:
    assert denials.too_fast(account(), key(), 60, 1).retry_after_s == 1
    assert denials.too_fast(account(), key(), 60, 1_000_000_001).retry_after_s == 2


def test_advice_that_cannot_help_is_not_given() -> None:
    assert "Lower" not in denials.day_output_used(account(), key(), 500, 0, 0, 60).message
    assert "Lower max_tokens to 9" in denials.day_output_used(account(), key(), 500, 9, 9, 60).message
