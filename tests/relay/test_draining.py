from __future__ import annotations

from streamrouter.config.schema import UpstreamConfig
from streamrouter.relay.draining import Drain, Drains

CONFIG = UpstreamConfig(on_disconnect="drain", drain_s=30, drain_most=2)


def test_so_many_at_once_and_each_upstream_for_itself() -> None:
    drains = Drains()
    first, second, third, other = (Drain(drains) for _ in range(4))
    assert first.begin(CONFIG, "a", 100)
    assert second.begin(CONFIG, "a", 100)
    assert not third.begin(CONFIG, "a", 100)
    assert other.begin(CONFIG, "b", 100)
    first.end()
    first.end()
    assert drains.running == {"a": 1, "b": 1}
    assert third.begin(CONFIG, "a", 100)


def test_for_so_long() -> None:
    drain = Drain(Drains())
    assert not drain.overdue(1e9)
    assert drain.begin(CONFIG, "a", 100)
    assert not drain.overdue(129.9)
    assert drain.overdue(130)
    drain.end()
    assert not drain.overdue(200)


def test_another_policy_never_begins_it_and_what_never_began_has_no_end() -> None:
    drains = Drains()
    drain = Drain(drains)
    assert not drain.begin(UpstreamConfig(), "a", 100)
    drain.end()
    assert sum(drains.running.values()) == 0
