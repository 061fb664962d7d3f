from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamrouter.policy.remembered import MOST, SHORT_CHARS, Remembered


class Counting:
    """Counts characters, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, text: str) -> int:
        self.asked += 1
        return len(text)


@given(st.lists(st.text(max_size=80) | st.just("\ud800" * 40), max_size=20))
def test_a_count_is_that_of_the_text(texts: list[str]) -> None:
    count = Remembered(len).of("acct_1")
    assert [count(text) for text in texts * 2] == [len(text) for text in texts * 2]


def test_a_text_is_counted_once() -> None:
    counting = Counting()
    count = Remembered(counting).of("acct_1")
    for text in ("a" * 40, "b" * 41, "a" * 40, "b" * 41):
        assert count(text) == len(text)
    assert counting.asked == 2
    for _ in range(2):
        count("c" * SHORT_CHARS)
    assert counting.asked == 4


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    counting = Counting()
    remembered = Remembered(counting)
    count = remembered.of("acct_1")
    kept, left = "kept" * 10, "left" * 10
    count(left)
    for number in range(2 * MOST):
        count(kept)
        count(f"{number:050}")
    assert len(remembered._new) + len(remembered._old) <= 2 * MOST
    asked = counting.asked
    count(kept)
    assert counting.asked == asked
    count(left)
    assert counting.asked == asked + 1


def test_no_text_is_kept() -> None:
    remembered = Remembered(len)
    remembered.of("acct_1")("a secret of forty characters, or nearly so")
    assert [len(key) for key in remembered._new] == [32]
    assert Remembered(len)._salt != remembered._salt


def test_an_owner_learns_nothing_of_what_others_asked() -> None:
    counting = Counting()
    remembered = Remembered(counting)
    for owner in ("acct_1", "acct_2", "acct_1"):
        remembered.of(owner)("the same text, and more than a few characters")
    assert counting.asked == 2
