from __future__ import annotations

import time

from streamrouter.clock import Clock, SystemClock


def test_units_and_sources() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns(), time.monotonic()
    now_ns, monotonic, boottime = clock.now_ns(), clock.monotonic(), clock.boottime()
    after = time.time_ns(), time.monotonic()
    assert before[0] <= now_ns <= after[0]
    assert before[1] <= monotonic <= after[1]
    assert now_ns > 1_700_000_000 * 10**9  # nanoseconds since 1970
    assert boottime >= monotonic - 1  # what was slept through is in it
    assert clock.boottime() >= boottime
