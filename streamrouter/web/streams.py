"""Resumable streams over HTTP: a call that is served on after its client has left, and ``GET …/streams/{id}``.

Such a call runs in a task of its own; the request that began it and those that continue it only read. The gateway and
the relay serve it like any other: their reply is one whose sink is a replay (``relay/resume.py``). See docs/resume.md.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Scope

from streamrouter.errors import Refusal
from streamrouter.gateway import Gateway
from streamrouter.ops.logs import Log, where
from streamrouter.relay.response import RelayResponse
from streamrouter.relay.resume import Replay, Replays
from streamrouter.relay.sink import Headers, Sink
from streamrouter.request import Caller, Reply
from streamrouter.web.body import header
from streamrouter.wire.chat import Call

_MOST_DIGITS = 15


def wants_resume(scope: Scope) -> bool:
    """The client asks for a stream that it can come back to."""
    return header(scope, b"x-streamrouter-resume") == b"1"


class _Outliving:
    """The gateway's ``Reply`` of a resumable call: its stream goes into the replay. ``begun``: there will be one."""

    def __init__(self, replay: Replay, reply: Reply) -> None:
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replay = replay
        self._reply = reply

    async def whole(self, body: bytes, headers: Headers) -> None:
        await self._reply.whole(body, headers)

    async def stream(self, response: RelayResponse) -> None:
        response.raw_headers.clear()  # each reader's response brings its own
        self.begun.set_result(None)
        await response.run(self._replay)


class Streams:
    """Serves resumable calls of all surfaces and those who come back to them."""

    def __init__(self, gateway: Gateway, replays: Replays, log: Log) -> None:
        self.replays = replays
        self._gateway = gateway
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, gateway: Gateway) -> Streams:
        """The same streams to come back to; new ones are served by ``gateway``."""
        made = Streams(gateway, self.replays, self._log)
        made._tasks = self._tasks
        return made

    async def serve(self, call: Call, caller: Caller, reply: Reply) -> None:
        """As the gateway's ``serve``, but the stream outlives ``reply``. Raises what that raises before the status."""
        replay = self.replays.new(call.id, caller.key.id)
        if replay is None:
            await self._gateway.serve(call, caller, reply)
            return
        outliving = _Outliving(replay, reply)
        self._gateway.serving += 1
        task = asyncio.create_task(self._run(call, caller, replay, outliving))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, replay))
        try:
            await asyncio.wait({task, outliving.begun}, return_when=asyncio.FIRST_COMPLETED)
            if outliving.begun.done() and (replay.ended or not task.done()):
                await reply.stream(_reading(replay, 0, task))
            else:
                await task
        except asyncio.CancelledError:
            if not replay.committed:  # nobody can come back to what has no name yet
                task.cancel()
            raise

    async def _run(self, call: Call, caller: Caller, replay: Replay, reply: Reply) -> None:
        try:
            await self._gateway.serve(call, caller, reply)
        finally:
            replay.over()

    def _ended(self, task: asyncio.Task[None], replay: Replay) -> None:
        """A bug that shows after the status has nobody to be told to but the log."""
        self._tasks.discard(task)
        self._gateway.serving -= 1
        error = None if task.cancelled() else task.exception()
        if error is not None and replay.committed:
            self._log.event("error", "internal_error", id=replay.id, kind=type(error).__name__, at=where(error))

    def continued(self, request: Request, caller: Caller) -> RelayResponse:
        """The rest of a stream of this key, after the event that ``after`` counts to. Raises Refusal."""
        if request.method == "HEAD":  # which would take the stream from its reader
            raise Refusal("method_not_allowed", "A stream is read with GET.", allow="GET, OPTIONS")
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= _MOST_DIGITS):
            raise Refusal("invalid_value", "after is the number of events that you have.", param="after")
        replay = self.replays.find(request.path_params["stream_id"], caller.key.id)
        replay.check(int(after))
        return _reading(replay, int(after))

    async def finished(self, timeout_s: float) -> None:
        """Wait until every call is settled, at most ``timeout_s``."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)


def _reading(replay: Replay, after: int, call: asyncio.Task[None] | None = None) -> RelayResponse:
    """A response that reads until there is no more, its client has left, or another has taken its place.

    ``call``: it is the request that began it, and is told why there is no status.
    """

    async def read(sink: Sink) -> None:
        reading = replay.attach(sink, after, lambda headers: response.start(sink, headers))
        try:
            await reading.over
        finally:
            replay.left(reading)  # where the server cancels it
        if call is not None and not replay.committed:
            await call

    response = RelayResponse(read)
    return response
