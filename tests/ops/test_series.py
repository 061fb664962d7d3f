from __future__ import annotations

from streamrouter.ops.series import Sample, Series, Slot

START = 1_000_000


def sample(**more: int | bool | None) -> Sample:
    return Sample(**{"input_tokens": 10, "output_tokens": 20, "cost": 3, "ttft_ms": 100, "gap_p99_ms": 7, **more})  # type: ignore[arg-type]


def test_what_is_counted_comes_back_as_a_sum() -> None:
    series = Series(START)
    for second in range(12):
        series.count(START + second, sample(error=second == 3))
    whole = series.between(START, START + 60)
    assert (whole.requests, whole.errors, whole.input_tokens, whole.output_tokens, whole.cost) == (12, 1, 120, 240, 36)
    assert (sum(whole.ttft.values()), sum(whole.gap.values())) == (12, 12)
    assert [series.between(START + at, START + at + 5).requests for at in (0, 5, 10, 15)] == [5, 5, 2, 0]


def test_times_that_are_not_known_are_not_counted() -> None:
    series = Series(START)
    series.count(START, sample(ttft_ms=None, gap_p99_ms=None))
    found = series.between(START, START + 5)
    assert (found.requests, found.ttft, found.gap) == (1, {}, {})


def test_the_most_in_flight_at_once() -> None:
    series = Series(START)
    for second, active in enumerate((1, 4, 2, 0, 0, 3)):
        series.active(START + second, active)
    assert [series.between(START + at, START + at + 5).active for at in (0, 5)] == [4, 3]
    assert series.between(START, START + 10).active == 4


def test_old_slots_go_and_empty_ones_never_were() -> None:
    series = Series(START, step_s=5, kept_s=20)
    for second in range(0, 100, 10):
        series.count(START + second, sample())
    assert series.between(START, START + 200).requests == len(series._past) + 1 == 2
    series.active(START + 300, 0)
    assert series.between(START + 200, START + 400) == Slot()


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    series = Series(START)
    series.count(START + 60, sample())
    series.count(START + 10, sample())
    assert series.between(START, START + 120).requests == 2


def test_where_what_is_wholly_ours_begins() -> None:
    series = Series(1_000_030, step_s=5, kept_s=600)
    assert series.begins_s(1_000_031) == series.begins_s(1_000_600) == 1_000_080
    assert series.begins_s(1_000_830) == 1_000_260
    assert Series(1_000_020).begins_s(1_000_020) == 1_000_080
