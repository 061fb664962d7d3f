"""The frame that every route of the admin API is called in: who, from where, with what; and what leaves.

The order is fixed. Route (404, 405), origin (403), who it is (401), whether they may (403), body and query (400, 413,
415), handler. Nothing is read of a body before its sender may send it. Errors become HTTP here and nowhere else, and no
answer is ever stored or readable across origins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from streamrouter import ids
from streamrouter.admin.desk import AdminError
from streamrouter.errors import RULES, Refusal
from streamrouter.ledger import sessions
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sessions import Found, Who
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ops.logs import where
from streamrouter.web.body import ClientLeft, check_media_type, header, read_body
from streamrouter.web.console import origin
from streamrouter.web.console.decoding import MOST_BODY_BYTES, body_of, query_of
from streamrouter.web.console.route import SAFETY, Context, Reply, Route, Site
from streamrouter.web.replies import INTERNAL_ERROR, send_body, send_refusal

BASE = "/admin/api"
_REF = re.compile(rb"[\x21-\x7e]{1,255}")
_Find = Callable[[Connection, bytes, int], Found | None]
_Present = Callable[[SqliteBook, Moment, bytes], Who | None]
_ADMIN_CODES = {"invalid_arguments": "invalid_value", "unknown_verb": "not_found"}  # the others are RULES' own


class AdminApi:
    """Everything below ``/admin/api``, by a table of routes."""

    def __init__(self, site: Site, routes: Sequence[Route]) -> None:
        self._site = site
        self._routes: dict[int, list[tuple[list[str], Route]]] = {}
        for route in sorted(routes, key=lambda route: route.path.count("{")):  # literal segments first
            steps = route.path.strip("/").split("/")
            self._routes.setdefault(len(steps), []).append((steps, route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = ids.request_id(self._site.clock.now_ns())
        try:
            reply = await self._serve(scope, receive, request_id)
        except Refusal as refusal:
            await send_refusal(send, refusal, request_id, headers=SAFETY)
        except AdminError as error:
            await send_refusal(send, _refusal_of(error), request_id, headers=SAFETY)
        except ClientLeft:
            self._site.log.event("info", "client_left", id=request_id, status=499)
        except Exception as error:  # noqa: BLE001 - the outer border: whatever a bug raises becomes a clean 500
            self._tell(error, request_id)
            await send_refusal(send, INTERNAL_ERROR, request_id, headers=SAFETY)
        else:
            await self._send(scope, receive, send, reply, request_id)

    async def _serve(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        route, path = self._match(scope)
        if header(scope, b"authorization") is None:
            origin.check_origin(scope)
        who = await self._who(scope)
        _check_role(route, who)
        query = query_of(scope["query_string"], route.query)
        trusted = origin.networks(self._site.config().console.trusted_proxies)
        context = Context(
            site=self._site,
            scope=scope,
            request_id=request_id,
            now_ns=self._site.clock.now_ns(),
            who=who,
            path=path,
            query=query,
            body=await self._body(scope, receive, route),
            ref=_ref(scope),
            client=origin.client_address(scope, trusted),
            secure=origin.is_secure(scope),
        )
        found = await route.handler(context)
        return _whole(found if isinstance(found, Reply) else Reply(value=found), route)

    def _match(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        steps = scope["path"].removeprefix(BASE + "/").split("/")
        elsewhere = []
        for pattern, route in self._routes.get(len(steps), ()):
            path = _path_of(pattern, steps)
            if path is not None:
                if route.method == scope["method"]:
                    return route, path
                elsewhere.append(route.method)
        if elsewhere:
            allow = ", ".join(dict.fromkeys(elsewhere))
            raise Refusal("method_not_allowed", "This route exists, but not with this method.", allow=allow)
        raise Refusal("not_found", "There is nothing here. /openapi.json lists the admin API's routes.")

    async def _who(self, scope: Scope) -> Who | None:
        """By the admin token, else by the cookie. A token that is none is refused even where a cookie is good."""
        authorization = header(scope, b"authorization")
        if authorization is not None:
            scheme, _, secret = authorization.partition(b" ")
            who = None
            if scheme.lower() == b"bearer" and len(secret) <= 256:
                who = await self._present(sessions.find_token, sessions.present_token, secret.strip())
            if who is None:
                raise Refusal("not_signed_in", "This admin token is not valid. `streamrouter admin token` makes one.")
            return who
        session = origin.session_of(scope)
        if not session or len(session) > 256:
            return None
        return await self._present(sessions.find_session, sessions.present_session, session)

    async def _present(self, find: _Find, present: _Present, secret: str | bytes) -> Who | None:
        """By a read, nearly always: a write would make the ledger forget the rows that it has at hand for requests."""
        digest, now_ns = ids.secret_hash(secret), self._site.clock.now_ns()
        found = await self._site.ledger.ask(lambda raw: find(raw, digest, now_ns))
        if found is None or not found.due:
            return None if found is None else found.who
        return await self._site.ledger.act(present, digest)

    async def _body(self, scope: Scope, receive: Receive, route: Route) -> Any:
        if route.body is None:
            if (header(scope, b"content-length") or b"0") != b"0" or header(scope, b"transfer-encoding") is not None:
                raise Refusal("invalid_value", "This route takes no body.")
            return None
        check_media_type(scope)
        raw = await read_body(scope, receive, MOST_BODY_BYTES, self._site.config().server.body_timeout_s)
        return body_of(raw, route.body)

    async def _send(self, scope: Scope, receive: Receive, send: Send, reply: Reply, request_id: str) -> None:
        if reply.app is not None:
            try:
                await reply.app(scope, receive, send)
            except Exception as error:  # noqa: BLE001 - told, not answered: what it sends has begun
                self._tell(error, request_id)
            return
        headers = [*SAFETY, (b"cache-control", b"no-store"), (b"x-request-id", request_id.encode()), *reply.headers]
        if reply.content is not None:
            headers = [(b"content-type", reply.media_type.encode()), *headers]
        await send_body(send, reply.status or 204, reply.content or b"", headers)

    def _tell(self, error: Exception, request_id: str) -> None:
        self._site.log.event("error", "internal_error", id=request_id, kind=type(error).__name__, at=where(error))


def _whole(reply: Reply, route: Route) -> Reply:
    """With its status and its bytes: a value that JSON does not know is found before anything leaves."""
    if reply.app is not None:
        return reply
    if reply.content is None and reply.value is None:
        return replace(reply, status=204)
    content = orjson.dumps(reply.value) if reply.content is None else reply.content
    return replace(reply, status=reply.status or route.status, content=content)


def _path_of(pattern: list[str], steps: list[str]) -> dict[str, str] | None:
    """What stands in the braces, None where the pattern is not that of the path."""
    found = {}
    for expected, step in zip(pattern, steps, strict=True):
        if expected.startswith("{"):
            if not step:
                return None
            found[expected[1:-1]] = step
        elif expected != step:
            return None
    return found


def _check_role(route: Route, who: Who | None) -> None:
    if route.role == "anyone":
        return
    if who is None:
        raise Refusal("not_signed_in", "Sign in first, or send an admin token.")
    if route.role == "admin" and who.role != "admin":
        raise Refusal("forbidden", "Only an admin may do that.")


def _refusal_of(error: AdminError) -> Refusal:
    code = _ADMIN_CODES.get(error.code, error.code)
    return Refusal(code if code in RULES else "internal_error", error.message)


def _ref(scope: Scope) -> str | None:
    """The Idempotency-Key, as the reference that makes a verb happen once."""
    found = [value.strip() for name, value in scope["headers"] if name == b"idempotency-key"]
    if not found:
        return None
    if len(found) > 1 or _REF.fullmatch(found[0]) is None:
        raise Refusal(
            "invalid_value", "Send one Idempotency-Key of 1 to 255 printable ASCII characters.", param="Idempotency-Key"
        )
    return str(found[0], "ascii")
