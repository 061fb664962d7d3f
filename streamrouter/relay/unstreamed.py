"""An upstream that was asked for a stream and answers with something else, or with half of one (F9, F27, F28)."""

from __future__ import annotations

from streamrouter.errors import Upstreamed
from streamrouter.policy.meter import Meter
from streamrouter.upstream.exchange import Exchange
from streamrouter.upstream.verdicts import not_streamed, unusable
from streamrouter.wire.whole import chunks_of


async def unstreamed(exchange: Exchange, most: int) -> list[bytes] | None:
    """The payloads of a whole answer made into chunks, None for a stream that can be pushed.

    ``most``: bytes of a whole answer. Raises Upstreamed for a compressed body, an error in JSON, or anything else.
    """
    if exchange.headers.get("content-encoding", "identity").lower() != "identity":
        raise unusable("it is compressed")
    kind = exchange.headers.get("content-type", "").lower()
    if "json" not in kind and "html" not in kind:
        return None
    body, whole = await exchange.read(most)
    payloads = chunks_of(body) if whole else None
    if payloads is None:
        raise not_streamed(body)
    return payloads


def incomplete(meter: Meter) -> Upstreamed | None:
    """What a stream's clean end without ``[DONE]`` means: nothing if every choice has its finish_reason."""
    if meter.finished:
        return None
    if not meter.events:
        return unusable("its stream ended before the first event")
    return Upstreamed("upstream_truncated", "The upstream ended its answer half-way. Retry.")
