"""``POST …/chat/completions``: authenticate, decode, hand to the gateway, and turn what it raises into HTTP.

The hot route is answered here, outside Starlette's middlewares (they wrap ``send`` for every event).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.types import Receive, Scope, Send

from streamrouter import ids
from streamrouter.clock import Clock
from streamrouter.config.schema import ServerConfig, SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.gateway import Gateway
from streamrouter.ops.logs import Log, where
from streamrouter.ops.metrics import Metrics
from streamrouter.web.auth import authenticate, client_id, traceparent
from streamrouter.web.body import ClientLeft, check_media_type, read_body
from streamrouter.web.cors import Cors
from streamrouter.web.idempotency import idempotency_of
from streamrouter.web.replies import INTERNAL_ERROR, HttpReply, send_refusal
from streamrouter.web.streams import Streams, wants_resume
from streamrouter.wire.refusals import Headers


class Completions:
    """The route of one surface. ``draining()`` is true once the server shuts down."""

    def __init__(
        self,
        gateway: Gateway,
        surface: SurfaceConfig,
        server: ServerConfig,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        cors: Cors,
        draining: Callable[[], bool],
        streams: Streams,
    ) -> None:
        self._gateway = gateway
        self._surface = surface
        self._dialect = gateway.dialects[surface.name]
        self._server = server
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._cors = cors
        self._draining = draining
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ids.request_id(self._clock.now_ns())
        extra = self._cors.headers(scope)
        reply = HttpReply(scope, receive, send, extra)
        self._gateway.serving += 1
        try:
            await self._serve(scope, receive, request_id, reply)
        except Refusal as refusal:
            self._metrics.refused(refusal.code)
            if self._gateway.tracing is not None:
                self._gateway.tracing.refused(request_id, refusal.code, traceparent(scope))
            self._log.event("info", "refused", id=request_id, code=refusal.code, client_id=client_id(scope) or None)
            await send_refusal(send, refusal, request_id, headers=self._echo(scope, extra), style=self._dialect.style)
        except ClientLeft:
            self._log.event("info", "client_left", id=request_id, status=499)
        except Exception as error:  # noqa: BLE001 - the outer border: whatever a bug raises becomes a clean 500
            self._log.event("error", "internal_error", id=request_id, kind=type(error).__name__, at=where(error))
            if not reply.started:
                await send_refusal(send, INTERNAL_ERROR, request_id, headers=extra, style=self._dialect.style)
        finally:
            self._gateway.serving -= 1

    async def _serve(self, scope: Scope, receive: Receive, request_id: str, reply: HttpReply) -> None:
        if scope["method"] != "POST":
            raise Refusal("method_not_allowed", "Chat completions are asked for with POST.", allow="POST, OPTIONS")
        caller = await authenticate(scope, self._surface, self._gateway.ledger, self._clock.now_ns())
        if self._draining():
            raise Refusal("server_shutdown", "The server is shutting down. Retry in a moment.", retry_after_s=1)
        check_media_type(scope)
        body = await read_body(scope, receive, self._server.max_body_bytes, self._server.body_timeout_s)
        call = self._dialect.decode(body, request_id)
        if (idempotency := idempotency_of(scope, body)) is not None:
            caller = msgspec.structs.replace(caller, idempotency=idempotency)
        if call.stream and wants_resume(scope):
            await self._streams.serve(call, caller, reply)
        else:
            await self._gateway.serve(call, caller, reply)

    def _echo(self, scope: Scope, extra: Headers) -> Headers:
        own = client_id(scope)
        return [*extra, (b"x-client-request-id", own.encode("ascii"))] if own else extra
