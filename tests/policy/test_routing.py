from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streamrouter.policy.catalog import Target
from streamrouter.policy.routing import order

targets = st.lists(
    st.builds(Target, st.text("abc", min_size=1, max_size=3), st.just("m"), st.integers(0, 3), st.integers(1, 9)),
    max_size=8,
)


def names(*given: Target, cooling: str = "") -> list[str]:
    return [target.upstream for target in order(given, lambda t: t.upstream in cooling, lambda: 0.5)]


def test_by_rank_and_the_cooling_ones_last() -> None:
    a, b, c = Target("a", "m", 2), Target("b", "m", 0), Target("c", "m", 1)
    assert names(a, b, c) == ["b", "c", "a"]
    assert names(a, b, c, cooling="b") == ["c", "a", "b"]
    assert names(a, b, c, cooling="abc") == ["b", "c", "a"]
    assert names(a, cooling="a") == ["a"]
    assert names() == []


def test_equal_draws_keep_the_configured_order() -> None:
    assert names(Target("b", "m"), Target("a", "m"), Target("b", "m2")) == ["b", "a", "b"]


def test_weights_are_shares() -> None:
    draw = random.Random(7).random
    pair = (Target("big", "m", 0, 3), Target("small", "m", 0, 1))
    firsts = Counter(order(pair, lambda t: False, draw)[0].upstream for _ in range(4000))
    assert 2850 < firsts["big"] < 3150


@given(given=targets, seed=st.integers(), cooling=st.text("abc"))
def test_every_target_once_in_a_lawful_order(given: list[Target], seed: int, cooling: str) -> None:
    tried = order(given, lambda t: t.upstream[0] in cooling, random.Random(seed).random)
    assert Counter(tried) == Counter(given)
    keys = [(t.upstream[0] in cooling, t.rank) for t in tried]
    assert keys == sorted(keys)


def test_a_draw_of_zero_is_no_fault() -> None:
    pair = [Target("a", "m", 0, 5), Target("b", "m", 0, 1)]
    assert len(order(pair, lambda t: False, lambda: 0.0)) == 2
