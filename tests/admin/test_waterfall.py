from __future__ import annotations

from typing import Any

from streamrouter.admin.waterfall import phases
from streamrouter.ids import base32

NOW_MS = 1_800_000_000_000


def row(**more: Any) -> dict[str, Any]:
    return {
        "id": "req_" + base32(NOW_MS, 10) + "0" * 16,
        "created_ns": (NOW_MS + 3) * 1_000_000,
        "closed_ns": (NOW_MS + 1010) * 1_000_000,
        "state": "settled",
        "ttft_ms": 200,
        "duration_ms": 1000,
        **more,
    }


def told(**more: Any) -> list[tuple[str, int, int]]:
    return [(phase["name"], phase["start_ms"], phase["end_ms"]) for phase in phases(row(**more))]


def test_a_stream_whose_upstreams_status_is_remembered() -> None:
    assert told(answer_ms=150) == [
        ("admit", 0, 3),
        ("upstream", 3, 153),
        ("first token", 153, 203),
        ("stream", 203, 1003),
        ("settle", 1003, 1010),
    ]


def test_a_stream_from_the_books_alone() -> None:
    assert told() == [("admit", 0, 3), ("upstream", 3, 203), ("stream", 203, 1003), ("settle", 1003, 1010)]


def test_a_whole_answer_has_no_first_token() -> None:
    assert told(ttft_ms=None) == [("admit", 0, 3), ("upstream", 3, 1003), ("settle", 1003, 1010)]


def test_a_request_in_flight_was_admitted_and_no_more_is_known() -> None:
    assert told(state="open", closed_ns=None, ttft_ms=None, duration_ms=0) == [("admit", 0, 3)]


def test_a_recovered_request_has_no_times_of_its_own() -> None:
    assert told(state="recovered", ttft_ms=None, duration_ms=0)[-1] == ("settle", 3, 1010)


def test_clocks_that_disagree_give_no_negative_phase() -> None:
    for phase in phases(row(created_ns=(NOW_MS - 5) * 1_000_000, closed_ns=NOW_MS * 1_000_000 - 10**10)):
        assert phase["end_ms"] >= phase["start_ms"] >= 0


def test_an_id_without_a_time_begins_at_its_admission() -> None:
    assert told(id="req_0001")[0] == ("admit", 0, 0)
