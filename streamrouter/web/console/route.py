"""What a route of the admin API is: a row of data, the handler that carries it out, and what the handler is given.

The table of all routes is ``table.py``: rows stand in the module of their subject (``people.py``, ``sessions.py``, …)
as ``ROUTES``, and are joined there. Dispatch, ``/openapi.json`` and the route × role tests are made from that table.

A path begins below ``/admin/api`` and has no slash at its end; ``{name}`` stands for one segment that is not empty, and
a segment written out wins over one in braces. Whatever is in braces is ``context.path["name"]``, as a string. Values
that may hold a slash (model ids) travel in the body or the query, never in the path.

A handler is ``async def name(context: Context) -> Any``. What it returns leaves as JSON with the row's status; None
is 204; a ``Reply`` says more (another status, cookies, CSV, a stream). It raises ``Refusal`` or ``AdminError``, which
become HTTP in the frame. A handler changes nothing by itself: it carries out verbs (``context.perform``), so whatever
the console does the command line can do, and leaves the same line of audit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from msgspec import UNSET, Struct, structs
from starlette.types import ASGIApp, Receive, Scope

from streamrouter.admin.desk import Desk, StopStreams, Streams
from streamrouter.admin.verbs import perform
from streamrouter.admin.watch import Watch
from streamrouter.clock import Clock
from streamrouter.config.schema import Config
from streamrouter.errors import Refusal
from streamrouter.gateway import Gateway
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.sessions import Who
from streamrouter.ops.logs import Log
from streamrouter.web.console.door import Door
from streamrouter.web.console.feed import Feed
from streamrouter.wire.refusals import Headers

T = TypeVar("T")
# On every answer: what it is said to be it is, and no other origin may take it in.
SAFETY: Headers = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]
# Who may: anybody, whoever is signed in (an admin too), or an admin (an admin token is one).
Role = Literal["anyone", "member", "admin"]
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
Handler = Callable[["Context"], Awaitable[Any]]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body or a query: fields that it does not know are refused, so nothing is assigned by accident (S14)."""


class Empty(Body, frozen=True):
    """The body of an act that has no arguments: ``{}``."""


class Route(Struct, frozen=True):
    """One row. ``body`` None: the method has none (GET, DELETE). ``query`` None: no parameters are taken.

    ``status`` is that of success; ``once``: an ``Idempotency-Key`` makes it happen once (``context.ref``); ``answer``:
    the type of its JSON, for ``/openapi.json`` (None: not described).
    """

    method: Method
    path: str
    role: Role
    handler: Handler
    summary: str
    body: type[Body] | None = None
    query: type[Body] | None = None
    status: int = 200
    once: bool = False
    answer: Any = None


class Reply(Struct, frozen=True, kw_only=True):
    """More than a JSON value. ``content``: bytes of ``media_type`` in its place; ``app``: the whole answer is its."""

    value: Any = None
    status: int | None = None
    headers: Headers = []
    content: bytes | None = None
    media_type: str = "application/json"
    app: ASGIApp | None = None


class Site(Struct, frozen=True, kw_only=True):
    """What handlers reach of the running server: made once, in app.py.

    ``config`` and ``gateway`` are functions, since a reload puts others in their place.
    """

    config: Callable[[], Config]
    ledger: Ledger
    clock: Clock
    log: Log
    door: Door
    gateway: Callable[[], Gateway]
    stop_streams: StopStreams
    streams: Streams
    watch: Watch
    feed: Feed
    draining: Callable[[], bool]
    reports: asyncio.Semaphore  # reads of many rows: what waits here does not stand before requests
    source: str  # the configuration's file


class Context(Struct, frozen=True, kw_only=True):
    """One request, authenticated and decoded. ``who`` is None only on routes for anyone.

    ``body`` and ``query`` are of the row's types; ``ref`` is the Idempotency-Key; ``client`` is the address of whoever
    asks (a trusted proxy's word for it included); ``secure``: the browser's side of the connection is encrypted.
    """

    site: Site
    scope: Scope
    request_id: str
    now_ns: int
    who: Who | None
    path: dict[str, str]
    body: Any
    query: Any
    ref: str | None
    client: str
    secure: bool

    @property
    def desk(self) -> Desk:
        """Where verbs are carried out, in the name of whoever asks."""
        actor = "" if self.who is None else self.who.actor
        return Desk(self.site.ledger, self.site.config(), self.site.stop_streams, actor, self.site.streams)

    @property
    def person(self) -> Who:
        """Whoever asks, on a route that is not for anyone."""
        if self.who is None:
            raise Refusal("not_signed_in", "Sign in first.")
        return self.who

    def user(self) -> str:
        """The account of whoever asks. Refusal ``not_found`` for an admin (or a token) without one."""
        if self.person.user is None:
            raise Refusal("not_found", "There is no account of yours: an admin can link one to your name.")
        return self.person.user

    async def perform(self, verb: str, **args: Any) -> Any:
        """Carry out a verb of ``admin/``; arguments that are UNSET are left out. AdminError says why not."""
        return await perform(self.desk, verb, {name: value for name, value in args.items() if value is not UNSET})

    async def act(self, function: Callable[..., T], *arguments: Any) -> T:
        """Carry out an act of ``ledger/`` in the name of whoever asks. Refusal ``not_found``, ``invalid_value``."""
        try:
            return await self.site.ledger.act(function, *arguments, actor=self.desk.actor)
        except (KeyError, IndexError):  # a fault of ours, not a name that is unknown
            raise
        except LookupError as error:
            raise Refusal("not_found", str(error)) from None
        except ValueError as error:
            raise Refusal("invalid_value", str(error)) from None

    def given(self) -> dict[str, Any]:
        """The fields of the body that were sent, ready for ``perform``."""
        return {name: value for name, value in structs.asdict(self.body).items() if value is not UNSET}


async def until_left(receive: Receive) -> None:
    """Return once the client is gone: what is sent to it then goes nowhere, and nothing else says so."""
    while (await receive())["type"] != "http.disconnect":
        pass
