"""Sums and snapshots of the rules: several requests on one book, every number of it. Found wanting by mutation."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict

from streamrouter.ledger import rules
from streamrouter.ledger.denials import Denied
from streamrouter.policy.limits import MINUTE_NS
from tests.ledger.books import DAY, NOON_NS, PRICE, account, admitted, book, command, finished, key, moment


def told(of: Any, **fields: Any) -> str:
    outcome = rules.reserve(of, command(**fields), moment())
    assert isinstance(outcome, Denied)
    return outcome.message


def test_a_hold_and_its_row_say_what_was_asked_by_whom() -> None:
    of = book(by=key(concurrency=5))
    hold = admitted(of, id="req_a", n=2, limit=300)
    remaining = hold.remaining
    assert (hold.id, hold.account_id, hold.account_name, hold.key_id) == ("req_a", "acct_1", "team-a", "key_1")
    assert (hold.key_display, hold.surface, hold.model) == ("sk-…9fQ2", "main", "gpt-5.4-mini")
    assert (hold.limit, hold.r_input, hold.r_output, hold.lease, hold.asked) == (300, 100, 600, 256, 256)
    assert (hold.price, hold.clamped, remaining.requests, remaining.requests_reset_ms) == (PRICE, False, None, 0)
    row = of.holds["req_a"]
    assert (row.surface, row.boot, row.stream, row.exact, row.created_ns) == ("main", 1, True, True, NOON_NS)


def test_three_requests_add_up() -> None:
    of = book(of=account(credited=10**9))
    holds = [admitted(of, prepaid=True, input_tokens=100 + number) for number in range(3)]
    day, owner = of.days["acct_1", DAY], of.accounts["acct_1"]
    assert (day.reserved_input, day.reserved_output, day.requests) == (303, 1500, 3)
    assert (owner.reserved, of.keys["key_1"].in_flight) == (sum(hold.r_usd for hold in holds), 3)
    for number, hold in enumerate(holds):
        ending = finished(
            110 + number,
            501 + number,
            cached_tokens=7,
            reasoning_tokens=5,
            upstream="main",
            ttft_ms=9,
            duration_ms=90,
        )
        rules.settle(of, hold.id, ending, NOON_NS + 1)
    rows = list(of.holds.values())
    (model,) = of.models.values()
    assert asdict(model) == {
        "account_id": "acct_1",
        "day": DAY,
        "key_id": "key_1",
        "model": "gpt-5.4-mini",
        "requests": 3,
        "input": 303,
        "output": 1500,
        "cached": 21,
        "reasoning": 15,
        "cost": sum(row.cost for row in rows),
        "spent": sum(row.s_usd for row in rows),
        "over_input": 30,
        "over_output": 6,
    }
    assert (day.posted_input, day.posted_output, day.reserved_input, day.reserved_output) == (303, 1500, 0, 0)
    assert (owner.spent, owner.reserved) == (model.spent, 0) and model.spent == model.cost > 0
    assert (rows[0].usage_source, rows[0].upstream, rows[0].ttft_ms, rows[0].duration_ms) == ("upstream", "main", 9, 90)
    assert rows[0].over_usd == -(-(10 * PRICE.input + 1 * PRICE.output) // 1000)
    assert (rows[0].closed_ns, isinstance(rows[0].over_usd, int)) == (NOON_NS + 1, True)


def test_what_is_reserved_and_spent_counts_against_the_next() -> None:
    of = book(of=account(daily_input=250, credited=10**6))
    first = admitted(of, prepaid=True)
    admitted(of, prepaid=True)
    assert "has 50 of 250 input tokens left today" in told(of)
    rules.settle(of, first.id, finished(), NOON_NS)
    of.accounts["acct_1"].daily_input = None
    third = rules.reserve(of, command(prepaid=True, limit=5000, requested=5000), moment())
    assert not isinstance(third, Denied)
    free = 10**6 - of.accounts["acct_1"].spent
    assert of.accounts["acct_1"].reserved <= free < of.accounts["acct_1"].reserved + PRICE.output // 1000


def test_refusals_name_the_cap_and_the_time() -> None:
    by = key(concurrency=1)
    of = book(by=by)
    admitted(of)
    assert "may have 1 at once" in told(of)
    assert "may send 99 input tokens" in told(book(of=account(input_per_request=99)))
    assert "may receive 1 output tokens" in told(book(of=account(output_per_request=1)), n=2)
    quick = book(of=account(requests_per_minute=1))
    admitted(quick)
    assert "may send 1 requests per minute. Try again in 60 s" in told(quick)
    spent = rules.reserve(book(of=account(daily_output=15)), command(), moment())
    assert isinstance(spent, Denied) and spent.retry_after_s == 43_200
    full = rules.reserve(book(of=account(daily_input=99)), command(), moment())
    assert isinstance(full, Denied) and full.retry_after_s == 43_200


def test_a_day_that_is_used_up_leaves_nothing_and_a_little_where_little_is_asked() -> None:
    assert "daily" in repr(rules.reserve(book(of=account(daily_output=0)), command(limit=1, requested=1), moment()))
    assert admitted(book(of=account(daily_output=7)), limit=20, requested=7).limit == 7
    assert admitted(book(), limit=7, requested=None).limit == 7
    assert admitted(book(of=account(daily_output=100, output_per_request=5)), limit=20, requested=20).limit == 5
    assert "this request asks for 33. " in told(book(of=account(daily_output=1)), limit=33)


def test_the_rate_is_told_in_whole_milliseconds() -> None:
    of = book(of=account(requests_per_minute=7))
    remaining = admitted(of).remaining
    assert remaining.requests == (7, 6)
    interval = MINUTE_NS // 7 + 1
    assert remaining.requests_reset_ms == interval // 1_000_000 + 1
    assert isinstance(remaining.requests_reset_ms, int)
    capped = admitted(book(of=account(daily_input=1000))).remaining
    assert (capped.requests, capped.requests_reset_ms) == (None, 0)


def test_a_recovered_hold_has_its_moment_and_no_reasoning() -> None:
    of = book()
    hold = admitted(of)
    rules.recover(of, hold.id, NOON_NS + 5)
    row = of.holds[hold.id]
    assert (row.closed_ns, row.s_reasoning, row.s_cached, row.s_output) == (NOON_NS + 5, 0, 0, 256)


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_settlement_tells_which_hold_it_closed(tokens: int) -> None:
    of = book()
    hold = admitted(of)
    settled = rules.settle(of, hold.id, finished(tokens, tokens), NOON_NS)
    assert (settled.id, settled.input_tokens, settled.output_tokens) == (hold.id, tokens, tokens)
