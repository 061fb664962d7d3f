"""What a relay needs from those around it, as plain calls: it knows neither the ledger nor the gateway."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from streamrouter.errors import Refusal
from streamrouter.relay.draining import Drains
from streamrouter.relay.sink import Sink


class Port(Struct, frozen=True):
    """What a relay needs from those around it: plain calls on the loop."""

    monotonic: Callable[[], float]
    start: Callable[[Sink], None]  # commit the status on the sink
    settle: Callable[[], None]  # put the settlement
    extend: Callable[[int, bool], None]  # ask for a lease of so many tokens; urgent or not
    hang_up: Callable[[], None]  # end the attempt that is under way
    error_event: Callable[[Refusal], bytes]
    lease_block: int
    keepalive_s: float
    commit_status_s: float
    drains: Drains = field(default_factory=Drains)
