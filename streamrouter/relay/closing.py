"""The last events of a stream that ended well: what a cut choice lacks, usage if asked for, ``[DONE]``."""

from __future__ import annotations

from msgspec import Raw

from streamrouter.policy.meter import Meter
from streamrouter.wire.splice import Splicer
from streamrouter.wire.usage import Usage, usage_json

_DONE = b"data: [DONE]\n\n"


def closing(meter: Meter, splicer: Splicer, usage_event: bytes | None, *, include_usage: bool) -> list[bytes]:
    """Framed events, in order. ``usage_event``: the payload in which the upstream sent usage alone, if it did."""
    out: list[bytes] = []
    cut = meter.reason == "cut"
    if cut:
        missing = [i for i in range(meter.n) if i not in meter.finish_reasons]
        out += [splicer.own(b'[{"index":%d,"delta":{},"finish_reason":"length"}]' % i) for i in missing]
    if include_usage:
        out.append(_usage(meter, splicer, None if cut else usage_event))
    return [*out, _DONE]


def _usage(meter: Meter, splicer: Splicer, usage_event: bytes | None) -> bytes:
    """Usage once, alone: the upstream's own event where it is sane, else one of ours."""
    usage, source = meter.usage()
    if source == "upstream" and usage_event is not None:
        return splicer.event(usage_event, drop_usage=False)
    if meter.reason == "cut":
        usage = Usage(usage.input, min(usage.output, meter.r_output))
    return splicer.own(b"[]", {"usage": Raw(usage_json(usage))})
