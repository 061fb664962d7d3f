from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrouter.ops import histogram
from streamrouter.ops.histogram import MOST, Histogram, bucket_of, quantile


def counted(times: list[float]) -> Histogram:
    made: Histogram = {}
    for ms in times:
        histogram.add(made, ms)
    return made


@pytest.mark.parametrize(
    ("ms", "bucket"), [(0, 0), (0.2, 0), (1, 0), (2, 5), (1024, 50), (10**9, MOST), (float("inf"), MOST)]
)
def test_the_bucket_of_a_duration(ms: float, bucket: int) -> None:
    if ms == float("inf"):
        ms = 1e300
    assert bucket_of(ms) == bucket


def test_nothing_has_no_percentile() -> None:
    assert quantile({}, 0.5) is None


@given(st.lists(st.floats(1, 500_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_within_a_bucket_of_the_true_one(times: list[float], q: float) -> None:
    found = quantile(counted(times), q)
    true = sorted(times)[max(0, -(-int(q * 1000) * len(times) // 1000) - 1)]
    assert found is not None
    assert true / 1.2 - 1 <= found <= true * 1.2 + 1


def test_two_add_up_to_one() -> None:
    draw = random.Random(7)
    first, second = ([draw.lognormvariate(5, 1) for _ in range(100)] for _ in range(2))
    whole = counted(first)
    histogram.merge(whole, counted(second))
    assert whole == counted(first + second)


@given(st.dictionaries(st.integers(0, MOST), st.integers(1, 2**32 - 1)))
def test_packing_loses_nothing(made: Histogram) -> None:
    assert histogram.unpack(histogram.pack(made)) == made


def test_a_count_that_is_too_large_is_the_largest() -> None:
    assert histogram.unpack(histogram.pack({3: 2**40})) == {3: 2**32 - 1}
