"""Payment, fee and credit add up to the nano-USD, under every kind of terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.config.schema import SurfaceConfig
from streamrouter.policy.money import usd_to_nano
from streamrouter.policy.topups import Terms, suggested, terms_of

FIVE_PERCENT = 50_000


def test_fee_on_top_credits_what_was_asked_for() -> None:
    bill = Terms(usd_to_nano("10"), FIVE_PERCENT).bill(usd_to_nano("10"))
    assert (bill.payment, bill.fee, bill.credit) == (usd_to_nano("10.50"), usd_to_nano("0.50"), usd_to_nano("10"))


def test_fee_taken_out_pays_what_was_asked_for() -> None:
    bill = Terms(0, FIVE_PERCENT, taken_out=True).bill(usd_to_nano("10"))
    assert (bill.payment, bill.fee, bill.credit) == (usd_to_nano("10"), usd_to_nano("0.50"), usd_to_nano("9.50"))


def test_minimum_applies_to_the_credit() -> None:
    on_top = Terms(usd_to_nano("10"), FIVE_PERCENT)
    with pytest.raises(ValueError, match=r"least top-up is 10\.00 USD, not 9\.999999999"):
        on_top.bill(usd_to_nano("9.999999999"))
    taken_out = Terms(usd_to_nano("10"), FIVE_PERCENT, taken_out=True)
    with pytest.raises(ValueError, match=r"would leave 9\.50; pay 10\.52631579 or more"):
        taken_out.bill(usd_to_nano("10"))
    assert taken_out.bill(usd_to_nano("10.526315790")).credit >= usd_to_nano("10")


@pytest.mark.parametrize("amount", [0, -1, -usd_to_nano("10")])
def test_nothing_and_less_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="more than 0 USD"):
        Terms().bill(amount)


def test_an_amount_that_the_fee_eats_whole_is_refused() -> None:
    with pytest.raises(ValueError, match=r"would leave 0\.00"):
        Terms(0, FIVE_PERCENT, taken_out=True).bill(1)


@given(st.integers(1, 10**18), st.integers(0, 999_999), st.booleans())
def test_fee_is_the_share_rounded_up_and_nothing_is_lost(amount: int, rate: int, taken_out: bool) -> None:
    try:
        bill = Terms(0, rate, taken_out).bill(amount)
    except ValueError:
        assert taken_out
        return
    assert bill.payment == bill.credit + bill.fee
    assert (bill.fee - 1) * 1_000_000 < amount * rate <= bill.fee * 1_000_000 or rate == 0


@given(st.integers(1, 10**15), st.integers(0, 999_999))
def test_the_payment_that_a_refusal_names_is_enough(minimum: int, rate: int) -> None:
    terms = Terms(minimum, rate, taken_out=True)
    payment = -(-minimum * 1_000_000 // (1_000_000 - rate))
    assert terms.bill(payment).credit >= minimum
    with pytest.raises(ValueError, match="least top-up"):
        Terms(minimum, rate).bill(minimum - 1) if minimum > 1 else Terms(2, rate).bill(1)


TOKENS = SurfaceConfig(name="ours")
WL = SurfaceConfig(
    name="wl", base_path="/wl/v1", billing="prepaid", topup_minimum="10", topup_fee_percent="5", topup_fee="on_top"
)
OUT = SurfaceConfig(
    name="out", base_path="/out", billing="prepaid", topup_minimum="2", topup_fee_percent="7.5", topup_fee="taken_out"
)


def test_terms_are_those_of_the_surfaces_in_use() -> None:
    assert terms_of([TOKENS, WL, OUT], {"wl"}) == Terms(usd_to_nano("10"), 50_000, taken_out=False)
    assert terms_of([TOKENS, WL, OUT], {"ours"}) == Terms()
    assert terms_of([TOKENS, WL, OUT], {"ours", "out"}) == Terms(usd_to_nano("2"), 75_000, taken_out=True)
    assert terms_of([TOKENS, WL, OUT], {"gone"}) == Terms()


def test_of_several_prepaid_surfaces_the_strictest_terms_apply() -> None:
    assert terms_of([TOKENS, WL, OUT], {"wl", "out"}) == Terms(usd_to_nano("10"), 75_000, taken_out=True)


def test_an_account_without_a_key_pays_by_the_prepaid_surfaces() -> None:
    assert terms_of([TOKENS, WL], set()) == Terms(usd_to_nano("10"), 50_000, taken_out=False)
    assert terms_of([TOKENS], set()) == Terms()


def test_what_is_suggested_is_taken() -> None:
    assert (suggested(TOKENS), suggested(WL)) == ("5", "10")
    assert terms_of([OUT], set()).bill(usd_to_nano(suggested(OUT))).credit >= usd_to_nano("2")
