from __future__ import annotations

from streamrouter.policy.endings import Ending, released


def test_released_charges_nothing() -> None:
    assert released("upstream_auth", upstream="main", duration_ms=5) == Ending(
        reason="upstream_auth",
        source="none",
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        reasoning_tokens=0,
        released=True,
        whole_input=False,
        whole_output=False,
        upstream="main",
        ttft_ms=None,
        duration_ms=5,
        events=0,
    )


def test_an_ending_is_not_released_unless_it_says_so() -> None:
    assert not Ending(reason="finished", source="local").released
