from __future__ import annotations

from streamrouter.policy.lifetimes import ABSOLUTE_NS, IDLE_NS, LINK_NS, SEEN_NS, alive

MINUTE_NS = 60_000_000_000


def test_a_session_ends_after_thirty_idle_minutes_and_twelve_hours_in_all() -> None:
    assert (IDLE_NS, ABSOLUTE_NS, LINK_NS["setup"]) == (30 * MINUTE_NS, 720 * MINUTE_NS, 30 * MINUTE_NS)
    assert alive(0, 0, IDLE_NS - 1) and not alive(0, 0, IDLE_NS)
    assert alive(0, ABSOLUTE_NS - 1, ABSOLUTE_NS - 1) and not alive(0, ABSOLUTE_NS, ABSOLUTE_NS)
    assert alive(IDLE_NS, IDLE_NS, 0)  # a clock that was set back ends nothing


def test_what_is_seen_is_written_down_often_enough() -> None:
    assert SEEN_NS * 10 <= IDLE_NS
