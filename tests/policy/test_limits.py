from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamrouter.policy.limits import MINUTE_NS, arrive

NOW = 1_700_000_000_000_000_000


def test_a_rested_account_may_burst_up_to_its_limit_and_no_further() -> None:
    tat = 0
    for left in (2, 1, 0):
        arrival = arrive(tat, NOW, 3)
        assert (arrival.wait_ns, arrival.remaining) == (0, left)
        tat = arrival.tat_ns
    refused = arrive(tat, NOW, 3)
    assert refused.wait_ns == MINUTE_NS // 3
    assert refused.tat_ns == tat
    assert refused.rested_in_ns == MINUTE_NS


def test_what_it_says_to_wait_is_enough_and_one_nanosecond_less_is_not() -> None:
    tat = arrive(0, NOW, 1).tat_ns
    wait = arrive(tat, NOW, 1).wait_ns
    assert arrive(tat, NOW + wait - 1, 1).wait_ns == 1
    assert arrive(tat, NOW + wait, 1).wait_ns == 0


def test_a_clock_that_stepped_back_does_not_lock_an_account_out() -> None:
    tat = arrive(0, NOW, 60).tat_ns
    assert arrive(tat, NOW - 2 * 3600 * 10**9, 60).wait_ns == 0


@given(st.integers(1, 10_000), st.lists(st.integers(0, 5 * 10**9), max_size=60))
def test_no_window_of_a_minute_after_the_burst_admits_more_than_the_limit(limit: int, gaps: list[int]) -> None:
    tat, now, admitted = 0, NOW, 0
    for gap in gaps:
        now += gap
        arrival = arrive(tat, now, limit)
        assert arrival.remaining >= 0
        if arrival.wait_ns == 0:
            tat, admitted = arrival.tat_ns, admitted + 1
    assert admitted <= limit + (now - NOW) * limit / MINUTE_NS + 1
