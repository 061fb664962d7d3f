"""Requests per minute by GCRA: one stored timestamp per account, integers only, time is an argument.

The generic cell rate algorithm keeps a *theoretical arrival time* (TAT): the moment at which the account would be back
at rest. Each admitted request moves it by one interval; a request is refused when that would put it further ahead than
the burst allows. The burst is the limit itself: a rested account may send a whole minute's requests at once.
"""

from __future__ import annotations

from msgspec import Struct

MINUTE_NS = 60_000_000_000
# No honest TAT is further ahead than a minute; one that is was written before the wall clock stepped back.
STEPPED_BACK_NS = 2 * MINUTE_NS


class Arrival(Struct, frozen=True):
    """What one request means for the rate. ``wait_ns`` 0: admitted, ``tat_ns`` is the value to store."""

    tat_ns: int
    wait_ns: int
    remaining: int  # requests that could follow at once
    rested_in_ns: int  # until the whole burst is available again


def arrive(tat_ns: int, now_ns: int, per_minute: int) -> Arrival:
    """Judge a request at ``now_ns`` (Unix nanoseconds) against ``per_minute`` requests a minute (>= 1)."""
    interval = -(-MINUTE_NS // per_minute)  # rounded up: never more than the limit
    burst = interval * per_minute
    if tat_ns - now_ns > STEPPED_BACK_NS:
        tat_ns = now_ns
    tat = max(tat_ns, now_ns) + interval
    ahead = tat - now_ns
    if ahead > burst:
        return Arrival(tat_ns, ahead - burst, 0, tat_ns - now_ns)
    return Arrival(tat, 0, (burst - ahead) // interval, ahead)
