"""The Idempotency-Key of a request, and the fingerprint that says which request it belongs to."""

from __future__ import annotations

import hashlib
import re

from starlette.types import Scope

from streamrouter.errors import Refusal
from streamrouter.ledger.records import Idempotency
from streamrouter.web.body import header

_NAME = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def idempotency_of(scope: Scope, body: bytes) -> Idempotency | None:
    """What a repetition is known by, None without the header. Refusal ``invalid_value`` for a key that is none.

    The fingerprint is the SHA-256 of method, path and the body as it came: a repetition is byte for byte the same.
    """
    if header(scope, b"idempotency-key") is None:
        return None
    found = [value.strip() for name, value in scope["headers"] if name == b"idempotency-key"]
    if len(found) > 1 or _NAME.fullmatch(found[0]) is None:
        raise Refusal(
            "invalid_value",
            "Send one Idempotency-Key of 1 to 255 printable ASCII characters, a new one for each request.",
            param="Idempotency-Key",
        )
    digest = hashlib.sha256(f"{scope['method']} {scope['path']}\n".encode("utf-8", "surrogateescape"))
    digest.update(body)
    return Idempotency(found[0].decode("ascii"), digest.digest())
