from __future__ import annotations

from typing import Any

import pytest

from streamrouter.ledger import rules
from streamrouter.ledger.denials import Denied
from streamrouter.policy.money import Price
from tests.ledger.books import DAY, NOON_NS, PRICE, DictBook, account, admitted, book, command, finished, key, moment

USD = 1_000_000_000


def denied(of: DictBook, **fields: Any) -> Denied:
    of.usage_day("acct_1", DAY)
    before = repr((of.accounts, of.keys, of.days, of.holds))
    outcome = rules.reserve(of, command(**fields), moment())
    assert isinstance(outcome, Denied), outcome
    assert repr((of.accounts, of.keys, of.days, of.holds)) == before, "a refusal must not write"
    return outcome


def used(of: DictBook, posted_input: int = 0, posted_output: int = 0) -> DictBook:
    day = of.usage_day("acct_1", DAY)
    day.posted_input, day.posted_output = posted_input, posted_output
    return of


# -- refusals, in their order: each book breaks its own rule and every later one

LATER: dict[str, Any] = {
    "input_per_request": 99,
    "requests_per_minute": 1,
    "rate_tat_ns": NOON_NS + 60 * USD,
    "daily_input": 0,
    "daily_output": 0,
}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in LATER.items() if name not in names}


ORDER = [
    ("invalid_api_key", account(status="disabled", **LATER), key(status="revoked", concurrency=0)),
    ("invalid_api_key", account(status="disabled", **LATER), key(concurrency=0)),
    ("input_tokens_exceeded", account(**LATER), key(concurrency=0)),
    ("rate_limit_exceeded", account(**without("input_per_request")), key(concurrency=0)),
    (
        "concurrent_requests_exceeded",
        account(**without("input_per_request", "requests_per_minute")),
        key(concurrency=0),
    ),
    ("daily_input_tokens_exceeded", account(daily_input=0, daily_output=0), key()),
    ("daily_output_tokens_exceeded", account(daily_output=0), key()),
    ("insufficient_balance", account(), key()),
]


@pytest.mark.parametrize(("code", "of", "by"), ORDER)
def test_refusals_come_in_the_documented_order(code: str, of: Any, by: Any) -> None:
    assert denied(book(of=of, by=by), prepaid=True).code == code


def test_an_unknown_key_or_a_key_without_account_is_invalid() -> None:
    assert denied(book(), key_id="key_2").code == "invalid_api_key"
    assert denied(book(by=key(account_id="acct_2"))).code == "invalid_api_key"


def test_every_denial_becomes_a_refusal_with_its_status() -> None:
    for _, of, by in ORDER:
        outcome = denied(book(of=of, by=by), prepaid=True)
        assert outcome.refusal().rule.status >= 400
        assert outcome.refusal().retry_after_s == outcome.retry_after_s


def test_messages_say_what_happened_the_numbers_and_what_to_do() -> None:
    of = book(of=account(credited=3_100_000))
    assert denied(of, prepaid=True, input_tokens=20_620, limit=4000, requested=4000).message == (
        'Key "team-a" (sk-…9fQ2) has $0.0031 left; this request reserves up to $0.005493 (gpt-5.4-mini, max_tokens '
        "4000). Lower max_tokens to 11 if that is enough. Top up: streamrouter topup team-a 5"
    )
    dearer = denied(of, prepaid=True, input_tokens=20_620, limit=4000, topup_usd="10")
    assert dearer.message.endswith("streamrouter topup team-a 10")


# -- requests per minute, concurrency


def test_requests_per_minute_burst_up_to_the_limit_then_wait() -> None:
    of = book(of=account(requests_per_minute=2))
    assert admitted(of).remaining.requests == (2, 1)
    assert admitted(of).remaining.requests == (2, 0)
    outcome = denied(of)
    assert (outcome.code, outcome.retry_after_s) == ("rate_limit_exceeded", 30)


def test_concurrency_counts_open_holds_only() -> None:
    of = book(by=key(concurrency=1))
    hold = admitted(of)
    assert denied(of).retry_after_s == 1
    rules.settle(of, hold.id, finished(), NOON_NS)
    admitted(of)


# -- caps per request


@pytest.mark.parametrize(
    ("cap", "n", "limit", "granted"),
    [(None, 1, 500, 500), (500, 1, 500, 500), (499, 1, 500, 499), (499, 2, 500, 249), (3, 3, 500, 1), (0, 1, 0, 0)],
)
def test_the_output_cap_per_request_bounds_all_choices_together(
    cap: int | None, n: int, limit: int, granted: int
) -> None:
    hold = admitted(book(of=account(output_per_request=cap)), n=n, limit=limit, requested=limit)
    assert (hold.limit, hold.r_output, hold.clamped) == (granted, n * granted, False)


def test_an_output_cap_below_one_token_a_choice_is_refused() -> None:
    outcome = denied(book(of=account(output_per_request=2)), n=3)
    assert (outcome.code, outcome.param) == ("invalid_value", "n")


def test_the_input_cap_per_request_includes_its_own_value() -> None:
    admitted(book(of=account(input_per_request=100)))
    assert denied(book(of=account(input_per_request=99))).code == "input_tokens_exceeded"


# -- the day


def test_daily_input_admits_exactly_what_is_left() -> None:
    admitted(used(book(of=account(daily_input=1000)), posted_input=900))
    outcome = denied(used(book(of=account(daily_input=1000)), posted_input=901))
    assert (outcome.code, outcome.retry_after_s) == ("daily_input_tokens_exceeded", 43_200)


@pytest.mark.parametrize(
    ("left", "requested", "n", "granted"),
    [
        (500, 500, 1, 500),
        (499, 500, 1, 499),
        (499, 500, 2, 249),
        (16, 500, 1, 16),
        (15, 500, 1, None),
        (16, None, 1, 16),
        (15, None, 1, None),
        (31, 500, 2, None),
        (0, 500, 1, None),
        (-5, 500, 1, None),
    ],
)
def test_daily_output_clamps_and_refuses_below_sixteen(
    left: int, requested: int | None, n: int, granted: int | None
) -> None:
    of = used(book(of=account(daily_output=1000)), posted_output=1000 - left)
    if granted is None:
        assert denied(of, requested=requested, n=n).code == "daily_output_tokens_exceeded"
        return
    hold = admitted(of, requested=requested, n=n)
    assert (hold.limit, hold.r_output, hold.clamped) == (granted, n * granted, granted < 500)
    assert hold.remaining.output_tokens == (1000, left - n * granted)


def test_less_than_sixteen_is_enough_if_no_more_was_asked_for() -> None:
    of = used(book(of=account(daily_output=1000)), posted_output=995)
    assert admitted(of, requested=5, limit=5).clamped is False
    of = used(book(of=account(daily_output=1000)), posted_output=995)
    assert denied(of, requested=6, limit=6).message.count("Lower max_tokens to 5") == 1


def test_concurrent_reservations_count_against_the_day() -> None:
    of = book(of=account(daily_output=1000, daily_input=10_000))
    admitted(of)
    admitted(of)
    assert denied(of).code == "daily_output_tokens_exceeded"


# -- the balance


def balance_for(tokens: int, input_tokens: int = 100) -> int:
    return PRICE.most(input_tokens, tokens)


@pytest.mark.parametrize(("tokens", "granted"), [(500, 500), (499, 499), (16, 16), (15, None), (0, None)])
def test_the_balance_clamps_to_what_it_pays_for(tokens: int, granted: int | None) -> None:
    of = book(of=account(credited=balance_for(tokens)))
    if granted is None:
        assert denied(of, prepaid=True).code == "insufficient_balance"
        return
    hold = admitted(of, prepaid=True)
    assert (hold.limit, hold.clamped, hold.r_usd) == (granted, granted < 500, balance_for(granted))
    assert of.accounts["acct_1"].reserved == hold.r_usd


def test_one_nano_usd_less_pays_for_one_token_less() -> None:
    assert admitted(book(of=account(credited=balance_for(300) - 1)), prepaid=True).limit == 299


def test_spent_and_reserved_money_is_gone() -> None:
    of = book(of=account(credited=balance_for(500) + 7, spent=3, reserved=4))
    assert admitted(of, prepaid=True).limit == 500
    assert denied(of, prepaid=True).code == "insufficient_balance"


def test_free_output_needs_only_the_inputs_price() -> None:
    price = Price(input=150_000)
    assert admitted(book(of=account(credited=15_000)), prepaid=True, price=price).limit == 500
    outcome = denied(book(of=account(credited=14_999)), prepaid=True, price=price)
    assert "Lower" not in outcome.message


def test_a_dearer_cache_price_is_what_is_reserved() -> None:
    price = Price(input=100_000, cache_read=300_000)
    of = book(of=account(credited=USD))
    hold = admitted(of, prepaid=True, price=price)
    settled = rules.settle(of, hold.id, finished(100, 0, cached_tokens=100), NOON_NS)
    assert settled.cost == hold.r_usd == 30_000


def test_unlimited_accounts_and_token_billing_ignore_the_balance() -> None:
    for of, prepaid in ((book(of=account(unlimited=True)), True), (book(), False)):
        hold = admitted(of, prepaid=prepaid)
        assert (hold.r_usd, hold.prepaid) == (0, False)
        settled = rules.settle(of, hold.id, finished(), NOON_NS)
        assert settled.cost == PRICE.cost(100, 200)
        assert of.accounts["acct_1"].spent == 0
        assert of.models[("acct_1", DAY, "key_1", "gpt-5.4-mini")].cost == settled.cost


def test_remaining_is_told_only_where_a_cap_is_set() -> None:
    assert admitted(book()).remaining.tokens_reset_s == 0
    remaining = admitted(book(of=account(daily_input=1000))).remaining
    assert (remaining.input_tokens, remaining.output_tokens, remaining.requests) == ((1000, 900), None, None)
    assert remaining.tokens_reset_s == 43_200
    remaining = admitted(book(of=account(requests_per_minute=60))).remaining
    assert (remaining.requests, remaining.requests_reset_ms) == ((60, 59), 1000)
