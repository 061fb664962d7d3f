from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.policy.money import Price, nano_to_usd, price_to_pico, scaled, usd_to_nano

tokens = st.integers(0, 2**31)
pico = st.integers(0, 10**9)
prices = st.builds(Price, pico, pico, pico)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("10.50", 10_500_000_000),
        ("0", 0),
        ("-0", 0),
        ("-1.5", -1_500_000_000),
        ("0.000000001", 1),
        ("0.0000000010000", 1),
        ("007", 7_000_000_000),
        ("999999999.999999999", 999_999_999_999_999_999),
    ],
)
def test_usd(text: str, nano: int) -> None:
    assert usd_to_nano(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", "1\n", "+1", ".5", "5.", "1,50", "1e3", "1_000", "--1", "1.2.3", "0x1", "nan", "inf"),
        *("١٢", "１", "1000000000", "0.0000000001"),
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="decimal"):
        usd_to_nano(text)


def test_a_refusal_does_not_echo_a_long_text() -> None:
    with pytest.raises(ValueError, match="plain decimal") as caught:
        scaled("x" * 10_000, 2)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "value"), [("0.15", 150_000), ("0", 0), ("15", 15_000_000), ("0.000001", 1)])
def test_price(text: str, value: int) -> None:
    assert price_to_pico(text) == value


@pytest.mark.parametrize("text", ["-0.01", "0.0000001"])
def test_a_price_is_never_negative_nor_rounded(text: str) -> None:
    with pytest.raises(ValueError):
        price_to_pico(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (10_500_000_000, "10.50"),
        (0, "0.00"),
        (3, "0.000000003"),
        (-1, "-0.000000001"),
        (-1_500_000_000, "-1.50"),
        (123_456_789_000, "123.456789"),
    ],
)
def test_usd_out(nano: int, text: str) -> None:
    assert nano_to_usd(nano) == text


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_out_and_in_is_the_same(nano: int) -> None:
    assert usd_to_nano(nano_to_usd(nano)) == nano


@pytest.mark.parametrize(
    ("used", "nano"),
    [
        ((5 + 4, 2, 4), 5600),  # 5 * 0.40 + 4 * 0.10 + 2 * 1.60 per million
        ((9, 2, 0), 6800),
        ((9, 2, 99), 4100),  # never more cached than there is
        ((0, 0, 0), 0),
    ],
)
def test_cost(used: tuple[int, int, int], nano: int) -> None:
    assert Price(400_000, 1_600_000, 100_000).cost(*used) == nano


def test_cost_is_rounded_up_once() -> None:
    price = Price(1, 1, 1)
    assert price.cost(1, 0) == price.cost(400, 600, 200) == 1
    assert price.cost(400, 601) == 2


@given(price=prices, used=st.tuples(tokens, tokens, tokens), more=st.tuples(tokens, tokens))
def test_what_is_reserved_covers_what_is_settled_and_cost_is_monotone(
    price: Price, used: tuple[int, int, int], more: tuple[int, int]
) -> None:
    r_input, r_output = used[0] + more[0], used[1] + more[1]
    assert price.cost(*used) <= price.most(r_input, r_output)
    assert price.cost(used[0], used[1], 0) <= price.cost(r_input, r_output, 0)
    assert (
        0
        <= price.cost(*used) * 1000
        - (
            (used[0] - min(used[2], used[0])) * price.input
            + min(used[2], used[0]) * price.cache_read
            + used[1] * price.output
        )
        < 1000
    )


def test_a_cache_dearer_than_the_input_is_reserved_for() -> None:
    assert Price(1000, 0, 2000).most(3, 0) == 6
