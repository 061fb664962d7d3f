"""Percentiles are values that were seen."""

from __future__ import annotations

from array import array

from streamrouter.bench.stats import Spread, quantile, quantile_ms, spread_ms


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [quantile(values, q) for q in (0.0, 0.5, 0.99, 1.0)] == [1.0, 51.0, 100.0, 100.0]
    assert quantile([], 0.5) == 0.0


def test_values_may_come_in_any_order() -> None:
    assert quantile_ms([0.003, 0.001, 0.002], 0.5) == 2.0


def test_a_spread_is_in_milliseconds() -> None:
    assert spread_ms(array("d", [0.004, 0.001, 0.003, 0.002])) == Spread(4, 3.0, 4.0, 4.0, 4.0)
    assert spread_ms([]) == Spread(0, 0.0, 0.0, 0.0, 0.0)
