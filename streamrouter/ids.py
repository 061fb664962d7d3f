"""Identities of ours: time-sortable, unguessable where it matters, ASCII."""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the number it writes
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_FIVE_BITS = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))  # of a random byte five bits are as random


@lru_cache(64)  # the requests of one moment begin with the same milliseconds
def base32(value: int, digits: int) -> str:
    """``value`` in ``digits`` characters of a base 32 that sorts as the numbers do."""
    out = []
    for _ in range(digits // 2):
        out.append(_PAIRS[value & 1023])
        value >>= 10
    if digits % 2:
        out.append(_ALPHABET[value & 31])
    out.reverse()
    return "".join(out)


def request_id(now_ns: int) -> str:
    """``req_`` + milliseconds (10 characters) + 80 random bits (16): sorts by time, never repeats."""
    return f"req_{base32(now_ns // 1_000_000, 10)}{os.urandom(16).translate(_FIVE_BITS).decode('ascii')}"


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


def millis_of(identity: str) -> int | None:
    """The Unix milliseconds that an identity of ours was made in; None if it is none."""
    digits = identity.partition("_")[2][:10]
    if len(digits) < 10 or not all(digit in _ALPHABET for digit in digits):
        return None
    value = 0
    for digit in digits:
        value = value << 5 | _ALPHABET.index(digit)
    return value


def first_request_id(now_ns: int) -> str:
    """What sorts before every request id of that millisecond and behind all earlier ones."""
    return "req_" + base32(now_ns // 1_000_000, 10)
