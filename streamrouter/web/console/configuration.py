"""What the server is set to, without a secret; what was done to it, by whom; whether its books are right."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from streamrouter.admin.browsing import Cursor, Limit
from streamrouter.admin.desk import when
from streamrouter.config import place
from streamrouter.config.schema import Config
from streamrouter.ledger import invariants
from streamrouter.ledger.days import iso
from streamrouter.web.console.answers import server
from streamrouter.web.console.route import Body, Context, Route

REDACTED = "(set)"
_SECRET = re.compile(r"(^|_)(key|keys|secret|secrets|token|tokens|password|passwords|pepper|credential|credentials)$")
_NAMES_NO_SECRET = frozenset({"tls_key"})  # the path of a file


class AuditPage(Body, frozen=True):
    """``cursor`` is the ``next`` of the page before."""

    cursor: Cursor = ""
    limit: Limit = 100


def redacted(config: Config) -> dict[str, Any]:
    """The whole tree in plain values. Nothing that is, or could be, a secret is in it: keys, every header, userinfo."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    return {name: _redacted(name, value) for name, value in tree.items()}


def _redacted(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if name == "headers":
            return dict.fromkeys(value, REDACTED)
        return {inner: _redacted(inner, found) for inner, found in value.items()}
    if isinstance(value, list):
        return [_redacted(name, each) for each in value]
    if isinstance(value, str) and value:
        if _SECRET.search(name) and name not in _NAMES_NO_SECRET:
            return REDACTED
        if place.is_database(value):
            return place.shown(value)
        if "://" in value:
            return without_userinfo(value)
    return value


def without_userinfo(url: str) -> str:
    """A URL without a name and password in it, and without a query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def surfaces_of(config: Config) -> list[dict[str, Any]]:
    """Where clients are served, and how."""
    return [
        {
            "name": surface.name,
            "base_path": surface.base_path,
            "host": surface.host,
            "key_prefix": surface.key_prefix,
            "auth": surface.auth,
            "billing": surface.billing,
            "streaming": surface.streaming,
            "models": surface.models,
        }
        for surface in config.surface
    ]


async def configuration(context: Context) -> Any:
    """The configuration in force, redacted."""
    config = context.site.config()
    return {"path": context.site.source, "config": redacted(config), "surfaces": surfaces_of(config)}


async def audit(context: Context) -> Any:
    return await context.perform("audit.list", cursor=context.query.cursor, limit=context.query.limit)


async def ledger(context: Context) -> Any:
    """The quick check: open holds, and the days since yesterday (all of it: ``streamrouter ledger check``)."""
    books = context.site.ledger
    faults = await books.check(whole=False, since=books.day - 1)
    return {
        "ok": not faults,
        "faults": faults,
        "invariants": invariants.COUNT,
        "checked": when(context.now_ns),
        "day": iso(books.day),
        "alarm": books.clock_alarm,
        "health": books.health(),
        "queue_length": books.queue_length,
    }


ROUTES = (
    Route("GET", "/config", "admin", configuration, "The configuration, redacted", answer=server.Configuration),
    Route("GET", "/audit", "admin", audit, "Who changed what", query=AuditPage, answer=server.AuditLog),
    Route("GET", "/ledger", "admin", ledger, "Whether the books are right", answer=server.Books),
)
