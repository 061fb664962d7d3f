"""When a running stream has taken too long, and who is to blame. Pure: seconds in, a refusal out."""

from __future__ import annotations

from streamrouter.config.schema import UpstreamConfig
from streamrouter.errors import Refusal, Upstreamed


def overdue(config: UpstreamConfig, age_s: float, quiet_s: float, *, held: bool, blocked: bool) -> Refusal | None:
    """Why a stream ends now, or None. ``quiet_s``: since the upstream's last byte (or our own pause of it).

    ``held``: an event waits for its lease (the silence is the ledger's); ``blocked``: the client does not take what was
    written (the silence is the client's, and its socket's own timeout ends it).
    """
    if held and quiet_s >= config.idle_s:
        return Refusal("ledger_unavailable", "The ledger did not answer in time; the stream ends here. Retry later.")
    if age_s >= config.stream_total_s:
        return Upstreamed("upstream_timeout", f"The stream reached its limit of {config.stream_total_s:g} s.")
    if quiet_s >= config.idle_s and not blocked:
        return Upstreamed("upstream_timeout", f"The upstream sent nothing for {config.idle_s:g} s. Retry.")
    return None
