"""Who asks: the key in the headers, before the body is read."""

from __future__ import annotations

import re
from typing import Protocol

from starlette.types import Scope

from streamrouter.config.schema import SurfaceConfig
from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger.records import Account, Key
from streamrouter.request import Caller
from streamrouter.web.body import header

_CLIENT_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MOST_KEY_BYTES = 256


class KeyBook(Protocol):
    """Where keys are known: the ledger's memory, current as of its last commit, and where it is shared, the ledger."""

    def key_by_hash(self, digest: bytes) -> tuple[Key, Account] | None: ...

    async def find(self, digest: bytes) -> tuple[Key, Account] | None: ...


def presented_key(scope: Scope, surface: SurfaceConfig) -> bytes | None:
    """The key that a request presents, by the headers that its surface knows, the first that is there."""
    for way in surface.auth:
        value = header(scope, b"authorization" if way == "bearer" else way.encode("ascii"))
        if value is None:
            continue
        if way != "bearer":
            return value.strip()
        scheme, _, secret = value.partition(b" ")
        if scheme.lower() == b"bearer":
            return secret.strip()
    return None


async def authenticate(scope: Scope, surface: SurfaceConfig, keys: KeyBook, now_ns: int) -> Caller:
    """The caller, or a Refusal (401). A key of another surface is as unknown as one that never was.

    ``now_ns`` (Unix time) is what the end of a rotated key is measured by.
    """
    secret = presented_key(scope, surface)
    if not secret:
        ways = " or ".join("Authorization: Bearer" if way == "bearer" else way for way in surface.auth)
        raise Refusal("missing_api_key", f"Send your API key in the header {ways}.")
    found = None
    if len(secret) <= _MOST_KEY_BYTES:
        digest = secret_hash(secret)
        found = keys.key_by_hash(digest) or await keys.find(digest)  # another process may have made it just now
    if found is None or found[0].surface != surface.name:
        raise Refusal("invalid_api_key", "This API key is not valid here. Check that it was copied whole.")
    key, account = found
    if key.status != "active":
        raise Refusal("invalid_api_key", "This API key was revoked. Ask the admin for a new one.")
    if key.expired(now_ns):
        raise Refusal("invalid_api_key", "This API key was replaced and has expired. Use the one that replaced it.")
    if account.status != "active":
        raise Refusal("invalid_api_key", "The account of this API key is disabled. Ask the admin.")
    return Caller(key, account, surface, client_id(scope), traceparent(scope))


def traceparent(scope: Scope) -> str:
    """The trace that the client is in, "" if it names none that may be forwarded."""
    trace = header(scope, b"traceparent")
    return trace.decode() if trace and _TRACEPARENT.fullmatch(trace) else ""


def client_id(scope: Scope) -> str:
    """The client's own request id, if it is one that may be logged and echoed; never an identity."""
    value = header(scope, b"x-client-request-id") or header(scope, b"x-request-id")
    return value.decode("ascii") if value and _CLIENT_ID.fullmatch(value) else ""
