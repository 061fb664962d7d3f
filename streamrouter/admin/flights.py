"""The requests in flight of a running server, for those who look at them, and stopping one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from streamrouter.admin.desk import AdminError, Args, Desk, Recent, Text, Verb
from streamrouter.admin.watch import Watch
from streamrouter.errors import Refusal
from streamrouter.ledger import administration
from streamrouter.request import Request

State = Literal["waiting", "streaming", "answering"]
STOPPED = Refusal("stopped_by_admin", "An admin stopped this request.")


class Flights:
    """The view of the gateway's requests that the desk gets (``desk.Streams``). ``in_flight`` is asked every time."""

    def __init__(self, in_flight: Callable[[], Mapping[str, Request]], watch: Watch) -> None:
        self._in_flight = in_flight
        self._watch = watch

    def recent(self, request_id: str) -> Recent | None:
        """What is remembered of a request that is over."""
        return self._watch.recent.get(request_id)

    def listed(self) -> list[dict[str, Any]]:
        """Every request in flight, the oldest first."""
        return [flight(request) for request in list(self._in_flight().values())]

    def stop(self, request_id: str) -> bool:
        """End it: a stream gets an error event, a whole answer a status. False: it is not (any more) in flight."""
        request = self._in_flight().get(request_id)
        if request is None:
            return False
        request.stop(STOPPED)
        return True


def flight(request: Request) -> dict[str, Any]:
    """One request in flight. ``tokens_per_s`` counts from the first token; None before there is one."""
    hold, meter = request.hold, request.meter
    streamed_s = request.streamed_s()
    return {
        "id": hold.id,
        "user": hold.account_name,
        "key": hold.key_display,
        "key_id": hold.key_id,
        "model": hold.model,
        "upstream": meter.upstream,
        "age_s": round(request.age_s(), 1),
        "output_tokens": meter.counted,
        "tokens_per_s": None if not streamed_s else round(meter.counted / streamed_s, 1),
        "reserved_output": hold.r_output,
        "leased_output": hold.lease,
        "state": _state(request),
    }


def _state(request: Request) -> State:
    if not request.call.stream:
        return "answering"
    return "waiting" if request.streamed_s() is None else "streaming"


class StreamId(Args, frozen=True):
    """``streams.stop``: the id of a request in flight."""

    id: Text


async def _list(desk: Desk, args: Args) -> list[dict[str, Any]]:
    return [] if desk.streams is None else desk.streams.listed()


async def _stop(desk: Desk, args: StreamId) -> dict[str, Any]:
    if desk.streams is None or not desk.streams.stop(args.id):
        raise AdminError("not_found", f"no request {args.id!r} is in flight; it may have ended")
    await desk.ledger.act(administration.note, "request_stopped", args.id, actor=desk.actor)
    return {"id": args.id, "stopped": True}


FLIGHTS: dict[str, Verb] = {
    "streams.list": Verb(Args, _list),
    "streams.stop": Verb(StreamId, _stop),
}
