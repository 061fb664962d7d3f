from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.ids import (
    base32,
    display_form,
    first_request_id,
    millis_of,
    new_secret,
    record_id,
    request_id,
    secret_hash,
)

NOW = 1_735_689_600_123_456_789
numbers = st.integers(0, 32**10 - 1)


@given(numbers, numbers)
def test_base32_sorts_as_the_numbers_do(a: int, b: int) -> None:
    assert (base32(a, 10) < base32(b, 10)) is (a < b)
    assert len(base32(a, 10)) == 10


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 3, "000"), (31, 1, "z"), (32, 2, "10"), (33, 1, "1"), (10, 1, "a"), (18, 1, "j"), (1025, 3, "101")],
)
def test_base32(value: int, digits: int, text: str) -> None:
    assert base32(value, digits) == text


def test_no_letter_is_mistaken_for_another() -> None:
    alphabet = "".join(base32(value, 1) for value in range(32))
    assert len(set(alphabet)) == 32
    assert not set("ilou") & set(alphabet)


def test_a_request_id_is_ascii_sorts_by_time_and_never_repeats() -> None:
    assert re.fullmatch(r"req_[0-9a-z]{26}", request_id(NOW))
    assert request_id(NOW)[:14] == request_id(NOW + 500_000)[:14]  # the same millisecond
    assert request_id(NOW) < request_id(NOW + 1_000_000) < request_id(NOW * 10)
    assert len({request_id(NOW) for _ in range(10_000)}) == 10_000


def test_a_record_id() -> None:
    assert re.fullmatch(r"acct_[0-9a-z]{18}", record_id("acct", NOW))
    assert record_id("acct", NOW)[5:15] == request_id(NOW)[4:14]
    assert len({record_id("key", NOW) for _ in range(1000)}) == 1000


def test_a_secret_has_256_bits_and_its_prefix() -> None:
    secret = new_secret("wrees_")
    assert re.fullmatch(r"wrees_[A-Za-z0-9_-]{43}", secret)
    assert len({new_secret("") for _ in range(1000)}) == 1000


def test_all_of_a_secret_is_hashed_and_little_is_shown() -> None:
    assert secret_hash("sk-a") == hashlib.sha256(b"sk-a").digest() == secret_hash(b"sk-a")
    assert secret_hash("sk-a") != secret_hash("sk-b")
    secret = new_secret("wrees_")
    assert display_form(secret, "wrees_") == f"wrees_…{secret[-4:]}"


@pytest.mark.parametrize("sent", [b"\xff\x00", "ž".encode(), b"", b"x" * 10_000])
def test_whatever_a_header_holds_has_a_hash(sent: bytes) -> None:
    """A header may come as bytes, or decoded with surrogateescape."""
    assert secret_hash(sent) == secret_hash(sent.decode("utf-8", "surrogateescape"))


def test_an_identity_says_when_it_was_made() -> None:
    assert millis_of(request_id(NOW)) == millis_of(record_id("key", NOW)) == NOW // 1_000_000
    assert [millis_of(other) for other in ("", "req_", "req_1", "req_UPPERCASE00", "x" * 30)] == [None] * 5
    assert request_id(NOW - 1_000_000) < first_request_id(NOW) < request_id(NOW)
