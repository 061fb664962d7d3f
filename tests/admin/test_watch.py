from __future__ import annotations

from typing import Any

import pytest

from streamrouter.admin.watch import MOST_RECENT, MOST_UPSTREAMS, UPSTREAM_KEPT_S, Watch, failed
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ops.series import Slot
from streamrouter.policy.endings import Ending
from tests.relay.dialogue import hold

START = 1_000_020  # the first second of a minute


def settle(watch: Watch, now_s: int = START, number: int = 0, reason: str = "finished", **ending: Any) -> None:
    booked = hold(10, 10)
    booked.id = f"req_{number}"
    settled = Settled(
        id=booked.id, input_tokens=7, output_tokens=3, cached_tokens=0, cost=13, over_input=0, over_output=0
    )
    watch.settled(now_s, booked, Ending(reason=reason, source="upstream", upstream="up", **ending), settled)


def test_a_settlement_is_counted_once_and_its_moments_are_remembered() -> None:
    watch = Watch(START)
    settle(watch, ttft_ms=120, gap_p99_ms=9, answer_ms=80, attempts=[("down", "upstream_timeout"), ("up", "ok")])
    found = watch.series.between(START, START + 5)
    assert (found.requests, found.errors, found.input_tokens, found.output_tokens, found.cost) == (1, 0, 7, 3, 13)
    recent = watch.recent["req_0"]
    assert (recent.answer_ms, list(recent.attempts)) == (80, [("down", "upstream_timeout"), ("up", "ok")])


def test_an_upstream_is_judged_by_its_attempts_and_timed_by_what_it_served() -> None:
    watch = Watch(START)
    watch.attempted(START, "up", "ok")
    watch.attempted(START, "up", "upstream_timeout")
    settle(watch, ttft_ms=120)
    settle(watch, number=1)
    hour = watch.of_upstream("up", START)
    assert (hour.requests, hour.errors, sum(hour.ttft.values())) == (2, 1, 1)
    assert watch.of_upstream("up", START + UPSTREAM_KEPT_S) == Slot()
    assert watch.of_upstream("never", START) == Slot()


def test_what_is_remembered_is_bounded() -> None:
    watch = Watch(START)
    for number in range(MOST_RECENT + 5):
        settle(watch, number=number)
    assert (len(watch.recent), "req_4" in watch.recent, "req_5" in watch.recent) == (MOST_RECENT, False, True)
    for number in range(MOST_UPSTREAMS + 5):
        watch.attempted(START, f"up {number}", "ok")
    assert len(watch.upstreams) == MOST_UPSTREAMS


def test_minutes_are_due_when_they_are_over_and_until_they_are_written() -> None:
    watch = Watch(START)
    settle(watch, START + 10)
    settle(watch, START + 70)
    minute = START // 60
    assert list(watch.minutes(START + 59)) == []
    assert list(watch.minutes(START + 60)) == [minute]
    assert list(watch.minutes(START + 200)) == [minute, minute + 1]
    watch.written(START + 60)
    assert list(watch.minutes(START + 200)) == [minute + 1]
    assert list(watch.minutes(START + 100, whole=False)) == [minute + 1]
    watch.written(START + 200)
    assert watch.minutes(START + 300) == {}


def test_listeners_hear_of_each_settlement() -> None:
    watch, heard = Watch(START), []

    def listen(booked: Hold, settled: Settled, *, failed: bool) -> None:
        heard.append((booked.id, settled.output_tokens, failed))

    watch.listeners.append(listen)
    settle(watch)
    settle(watch, number=1, reason="upstream_timeout")
    assert heard == [("req_0", 3, False), ("req_1", 3, True)]


@pytest.mark.parametrize(
    ("reason", "is_failure"),
    [
        ("finished", False),
        ("client_left", False),
        ("stopped_by_admin", False),
        ("upstream_rejected", False),
        ("upstream_truncated", True),
        ("ledger_unavailable", True),
    ],
)
def test_a_failure_is_ours_or_the_upstreams(reason: str, is_failure: bool) -> None:
    assert failed(reason) is is_failure
