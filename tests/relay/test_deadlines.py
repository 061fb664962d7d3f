"""Who has taken too long: the table of silence and age, and who is to blame."""

from __future__ import annotations

import pytest

from streamrouter.config.schema import UpstreamConfig
from streamrouter.relay.deadlines import overdue

CONFIG = UpstreamConfig(idle_s=10, stream_total_s=100)


@pytest.mark.parametrize(
    ("age_s", "quiet_s", "held", "blocked", "code"),
    [
        (9, 9.9, False, False, None),
        (10, 10, False, False, "upstream_timeout"),
        (10, 10, False, True, None),  # the client's silence
        (10, 10, True, False, "ledger_unavailable"),
        (10, 10, True, True, "ledger_unavailable"),
        (10, 9.9, True, False, None),
        (99.9, 0, False, False, None),
        (100, 0, False, False, "upstream_timeout"),
        (100, 0, False, True, "upstream_timeout"),
        (100, 0, True, False, "upstream_timeout"),
    ],
)
def test_when_a_stream_ends(age_s: float, quiet_s: float, held: bool, blocked: bool, code: str | None) -> None:
    refusal = overdue(CONFIG, age_s, quiet_s, held=held, blocked=blocked)
    assert (refusal.code if refusal else None) == code


def test_the_limit_is_told() -> None:
    idle = overdue(CONFIG, 10, 10, held=False, blocked=False)
    total = overdue(CONFIG, 100, 0, held=False, blocked=False)
    assert idle is not None and "10 s" in idle.message
    assert total is not None and "100 s" in total.message
