"""Identities of ours: time-sortable, unguessable where it matters, ASCII."""

from __future__ import annotations

import hashlib
import os
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the number it writes


def base32(value: int, digits: int) -> str:
    """``value`` in ``digits`` characters of a base 32 that sorts as the numbers do."""
    out = []
    for _ in range(digits):
        out.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(out))


def request_id(now_ns: int) -> str:
    """``req_`` + milliseconds (10 characters) + 80 random bits (16): sorts by time, never repeats."""
    return "req_" + base32(now_ns // 1_000_000, 10) + base32(int.from_bytes(os.urandom(10), "big"), 16)


def record_id(prefix: str, now_ns: int) -> str:
    """An id for a row (``key_…``, ``acct_…``, ``ent_…``): time-sortable, 40 random bits."""
    return f"{prefix}_{base32(now_ns // 1_000_000, 10)}{base32(int.from_bytes(os.urandom(5), 'big'), 8)}"


def new_secret(prefix: str) -> str:
    """An API key: ``prefix`` + 256 random bits, base64url without padding."""
    return prefix + secrets.token_urlsafe(32)


def secret_hash(secret: str | bytes) -> bytes:
    """What is stored of a key: the SHA-256 of all of it (32 bytes)."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape") if isinstance(secret, str) else secret).digest()


def display_form(secret: str, prefix: str) -> str:
    """What may be shown of a key later: ``wrees_…a1b2``."""
    return f"{prefix}…{secret[-4:]}"
