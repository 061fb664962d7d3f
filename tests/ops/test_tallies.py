"""Counters and histograms: what they come to on the page, and that their labels are bounded."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric

from streamrouter.ops.tallies import MOST_ROWS, Level, Spread, Tally


def samples(family: Metric) -> dict[str, float]:
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for sample in family.samples
    }


def test_a_tally_counts_by_its_labels() -> None:
    tally = Tally("things", "About.", "kind", "colour")
    tally.add(("a", "red"))
    tally.add(("a", "red"), 3)
    tally.add(("b", "red"))
    assert samples(tally.family()) == {
        "streamrouter_things_total colour=red kind=a": 4,
        "streamrouter_things_total colour=red kind=b": 1,
    }


def test_a_tally_without_labels_is_there_from_the_beginning() -> None:
    tally = Tally("things", "About.")
    assert samples(tally.family()) == {"streamrouter_things_total": 0}
    tally.add(amount=2)
    assert samples(tally.family()) == {"streamrouter_things_total": 2}


def test_a_tally_shows_its_unit() -> None:
    tally = Tally("cost_usd", "About.", unit=1e-9)
    tally.add(amount=2_500_000_000)
    assert samples(tally.family()) == {"streamrouter_cost_usd_total": 2.5}


def test_a_spread_is_cumulative_and_its_bounds_are_upper_ones() -> None:
    spread = Spread("time_seconds", "About.", (0.1, 1), "model")
    for value in (0.05, 0.1, 0.5, 7):
        spread.observe(value, "m")
    assert samples(spread.family()) == {
        "streamrouter_time_seconds_bucket le=0.1 model=m": 2,
        "streamrouter_time_seconds_bucket le=1.0 model=m": 3,
        "streamrouter_time_seconds_bucket le=+Inf model=m": 4,
        "streamrouter_time_seconds_count model=m": 4,
        "streamrouter_time_seconds_sum model=m": 7.65,
    }


def test_a_spread_without_a_label_is_there_from_the_beginning() -> None:
    assert samples(Spread("time_seconds", "About.", (1,)).family())["streamrouter_time_seconds_count"] == 0


def test_a_level_is_read_when_it_is_asked_for() -> None:
    level = Level("state", "About.", "upstream", "state")
    assert samples(level.family()) == {}
    now: dict[tuple[str, ...], float] = {("a", "closed"): 1.0}
    level.read = lambda: now
    assert samples(level.family()) == {"streamrouter_state state=closed upstream=a": 1}
    now[("a", "closed")] = 0.0
    assert samples(level.family()) == {"streamrouter_state state=closed upstream=a": 0}


def test_labels_are_bounded() -> None:
    tally, spread = Tally("things", "About.", "name"), Spread("time_seconds", "About.", (1,), "name")
    for number in range(MOST_ROWS + 20):
        tally.add((f"n{number}",))
        spread.observe(2, f"n{number}")
    counted = samples(tally.family())
    assert len(counted) == MOST_ROWS + 1
    assert counted["streamrouter_things_total name=other"] == 20
    observed = samples(spread.family())
    assert observed["streamrouter_time_seconds_count name=other"] == 20
    assert sum(name.startswith("streamrouter_time_seconds_count") for name in observed) == MOST_ROWS + 1
