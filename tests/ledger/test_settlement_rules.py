"""The rules that follow a reserve: leases, settlements, releases, recovery."""

from __future__ import annotations

from typing import Any

import pytest

from streamrouter.ledger import rules
from streamrouter.ledger.records import UsageDay
from streamrouter.policy.endings import released
from tests.ledger.books import DAY, NOON_NS, PRICE, account, admitted, book, finished

USD = 1_000_000_000


def test_a_stream_starts_with_a_lease_and_a_whole_answer_has_none() -> None:
    assert admitted(book()).lease == 256
    assert admitted(book(), limit=10, requested=10).lease == 10
    assert admitted(book(), stream=False).lease == 0


def test_a_lease_grows_to_what_is_reserved_and_never_shrinks() -> None:
    of = book()
    hold = admitted(of)
    assert rules.extend(of, hold.id, 300) == 300
    assert rules.extend(of, hold.id, 200) == 300
    assert rules.extend(of, hold.id, 9999) == 500
    assert of.holds[hold.id].leases == "256 300 500"
    rules.settle(of, hold.id, finished(), NOON_NS)
    assert rules.extend(of, hold.id, 500) is None
    assert rules.extend(of, "req_unknown", 500) is None


# -- settlements


@pytest.mark.parametrize(
    ("ending", "charged", "over"),
    [
        (finished(100, 200), (100, 200), (0, 0)),
        (finished(90, 0), (90, 0), (0, 0)),
        (finished(150, 700), (100, 500), (50, 200)),
        (finished(100, 501), (100, 500), (0, 1)),
        (finished(-5, -1), (0, 0), (0, 0)),
        (finished(0, 0, whole_input=True), (100, 0), (0, 0)),
        (finished(10, 20, whole_output=True), (10, 500), (0, 0)),
        (finished(1 << 50, 0), (100, 0), (1 << 40, 0)),
    ],
)
def test_a_settlement_charges_the_lesser_and_records_the_rest(
    ending: Any, charged: tuple[int, int], over: tuple[int, int]
) -> None:
    of = book(of=account(credited=USD))
    hold = admitted(of, prepaid=True)
    settled = rules.settle(of, hold.id, ending, NOON_NS + 5)
    row = of.holds[hold.id]
    assert (settled.input_tokens, settled.output_tokens) == charged == (row.s_input, row.s_output)
    assert (settled.over_input, settled.over_output) == over == (row.over_input, row.over_output)
    assert row.s_usd == settled.cost == PRICE.cost(*charged) <= row.r_usd
    assert row.over_usd == PRICE.cost(*over)
    assert (row.state, row.closed_ns, row.end_reason) == ("settled", NOON_NS + 5, "finished")
    day, owner = of.days[("acct_1", DAY)], of.accounts["acct_1"]
    assert (day.posted_input, day.posted_output, day.reserved_input, day.reserved_output) == (*charged, 0, 0)
    assert (owner.spent, owner.reserved, of.keys["key_1"].in_flight) == (settled.cost, 0, 0)


def test_cached_and_reasoning_tokens_are_parts_of_what_is_charged() -> None:
    of = book()
    hold = admitted(of)
    settled = rules.settle(of, hold.id, finished(100, 200, cached_tokens=120, reasoning_tokens=250), NOON_NS)
    assert (settled.cached_tokens, of.holds[hold.id].s_reasoning) == (100, 200)
    assert settled.cost == PRICE.cost(100, 200, 100)


def test_a_release_gives_everything_back_and_counts_no_request() -> None:
    of = book(of=account(credited=USD))
    hold = admitted(of, prepaid=True)
    settled = rules.settle(of, hold.id, released("upstream_unreachable"), NOON_NS)
    assert (settled.input_tokens, settled.output_tokens, settled.cost) == (0, 0, 0)
    assert of.days[("acct_1", DAY)] == UsageDay(account_id="acct_1", day=DAY)
    assert (of.accounts["acct_1"].reserved, of.models, of.holds[hold.id].state) == (0, {}, "released")


def test_a_closed_hold_never_changes() -> None:
    of = book(of=account(credited=USD))
    hold = admitted(of, prepaid=True)
    first = rules.settle(of, hold.id, finished(100, 200), NOON_NS)
    before = repr((of.accounts, of.keys, of.days, of.models, of.holds))
    assert rules.settle(of, hold.id, finished(1, 1), NOON_NS + 1) == first
    rules.recover(of, hold.id, NOON_NS + 2)
    assert repr((of.accounts, of.keys, of.days, of.models, of.holds)) == before


def test_a_hold_is_settled_on_the_day_of_its_admission() -> None:
    of = book(of=account(daily_output=1000))
    hold = admitted(of)
    rules.settle(of, hold.id, finished(), NOON_NS + 86_400 * USD)
    assert of.days[("acct_1", DAY)].posted_output == 200
    assert len(of.days) == 1


def test_an_unknown_hold_or_one_without_owner_is_an_error() -> None:
    of = book()
    with pytest.raises(LookupError, match="no hold req_x"):
        rules.settle(of, "req_x", finished(), NOON_NS)
    hold = admitted(of)
    of.keys.clear()
    with pytest.raises(LookupError, match="no account or key"):
        rules.settle(of, hold.id, finished(), NOON_NS)


def test_recovery_charges_the_input_and_the_lease() -> None:
    of = book(of=account(credited=USD))
    hold = admitted(of, prepaid=True)
    rules.extend(of, hold.id, 300)
    rules.recover(of, hold.id, NOON_NS)
    rules.recover(of, hold.id, NOON_NS + 1)
    rules.recover(of, "req_unknown", NOON_NS)
    row = of.holds[hold.id]
    assert (row.state, row.s_input, row.s_output, row.usage_source) == ("recovered", 100, 300, "recovered")
    assert of.accounts["acct_1"].spent == row.s_usd == PRICE.cost(100, 300)
