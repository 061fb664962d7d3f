from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamrouter.relay.gaps import Gaps


def of(*gaps_ms: int) -> int | None:
    gaps, now = Gaps(), 100.0
    gaps.read(now)
    for gap in gaps_ms:
        now += gap / 1000
        gaps.read(now)
    return gaps.p99_ms()


def test_below_two_reads_there_is_none() -> None:
    assert Gaps().p99_ms() is None and of() is None
    assert of(20) == 20


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=400))
def test_one_in_a_hundred_may_be_larger(gaps_ms: list[int]) -> None:
    assert of(*gaps_ms) == sorted(gaps_ms, reverse=True)[len(gaps_ms) // 100]


def test_a_long_stream_keeps_a_few_gaps_only() -> None:
    gaps, now = Gaps(), 0.0
    for number in range(10_000):
        now += 0.020 if number % 50 else 0.300
        gaps.read(now)
    assert gaps.p99_ms() == 300
    assert len(gaps._largest) == 32
