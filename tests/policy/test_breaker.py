from __future__ import annotations

import pytest

from streamrouter.policy.breaker import LONGEST_S, Breaker


def cooled(faults: int, cooldown_s: float = 10.0) -> float:
    """For how long the last of so many faults in a row (all at second 100) cools."""
    breaker = Breaker(cooldown_s)
    for _ in range(faults):
        breaker.failed(100.0)
    low, high = 100.0, 1000.0
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (middle, high) if breaker.cooling(middle) else (low, middle)
    return round(high - 100.0, 2)


@pytest.mark.parametrize(
    ("faults", "seconds"), [(0, 0), (1, 0), (2, 0), (3, 10), (4, 20), (5, 40), (6, 80), (7, 120), (8, 120), (500, 120)]
)
def test_it_cools_from_the_third_fault_twice_as_long_each_time(faults: int, seconds: float) -> None:
    assert cooled(faults) == seconds


def test_closed_cooling_trial_closed() -> None:
    breaker = Breaker(10.0)
    assert breaker.state(0.0) == "closed"
    for _ in range(3):
        breaker.failed(0.0)
    assert (breaker.state(0.0), breaker.state(9.9), breaker.state(10.0)) == ("cooling", "cooling", "trial")
    breaker.failed(10.0)
    assert (breaker.state(29.9), breaker.state(30.0), breaker.until) == ("cooling", "trial", 30.0)
    breaker.succeeded()
    assert breaker.state(30.0) == "closed"


def test_a_success_between_faults_starts_the_count_anew() -> None:
    breaker = Breaker(10.0)
    for _ in range(5):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded()
    breaker.failed(0.0)
    assert not breaker.cooling(0.0)


def test_the_upstreams_own_word_counts_at_once_and_has_a_limit() -> None:
    breaker = Breaker(10.0)
    breaker.failed(0.0, retry_after_s=7)
    assert (breaker.cooling(6.9), breaker.cooling(7.0), breaker.state(7.0)) == (True, False, "closed")
    breaker.failed(7.0, retry_after_s=3600)
    assert (breaker.cooling(7.0 + LONGEST_S - 1), breaker.cooling(7.0 + LONGEST_S)) == (True, False)


def test_nothing_shortens_a_wait() -> None:
    breaker = Breaker(10.0)
    breaker.failed(0.0, retry_after_s=100)
    breaker.failed(1.0, retry_after_s=1)
    breaker.failed(2.0)
    assert breaker.cooling(99.0)
