"""Passwords: which ones are taken, and how they are kept (scrypt, RFC 7914).

What is kept names its parameters, so they can be raised later: a password is hashed anew at the next sign-in. Every
call of ``encode`` and ``verify`` needs 128 * n * r bytes (32 MiB) and a tenth of a second: off the event loop, please.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from msgspec import Struct

LEAST, MOST = 10, 256  # characters
SALT_BYTES = 16
_HASH_BYTES = 32
_LARGEST_BYTES = 128 << 20  # of memory: what is kept may ask for no more
# Of the passwords that lists of leaked ones begin with, those that are long enough to be taken.
_WORST = {
    *("1234567890", "0123456789", "0987654321", "12345678910", "123456789a", "abcdefghij", "administrator"),
    *("1q2w3e4r5t", "1qaz2wsx3edc", "qwertyuiop", "qwerty12345", "qwerty123456", "changemenow", "letmein123"),
    *("password12", "password123", "password1234", "passwordpassword", "iloveyou123", "welcome123"),
    *("streamrouter", "streamrouter1", "adminadmin", "admin12345", "admin123456"),
}


class Cost(Struct, frozen=True):
    """scrypt's parameters: CPU and memory (a power of two), block size, parallelism."""

    n: int = 1 << 15
    r: int = 8
    p: int = 1


NOW = Cost()


def fault_of(password: str, name: str) -> str | None:
    """Why this cannot be the password of ``name``, None if it can."""
    if len(password) < LEAST:
        return f"A password has at least {LEAST} characters."
    if len(password) > MOST:
        return f"A password has at most {MOST} characters."
    plain = password.casefold()
    if plain in (name.casefold(), name.casefold()[::-1]):
        return "A password is not the name."
    if plain in _WORST or len(set(plain)) < 3:
        return "This password is one of the first that anybody would try."
    return None


def encode(password: str, salt: bytes, cost: Cost = NOW) -> str:
    """What is kept of a password: ``scrypt$n$r$p$salt$hash``. ``salt``: ``SALT_BYTES`` random ones."""
    digest = _scrypt(password, salt, cost)
    return "$".join(("scrypt", str(cost.n), str(cost.r), str(cost.p), _text(salt), _text(digest)))


def verify(password: str, encoded: str) -> bool:
    """Whether this is the password that was encoded. False, too, for what ``encode`` did not make."""
    found = _parts(encoded)
    if found is None:
        return False
    cost, salt, digest = found
    return hmac.compare_digest(_scrypt(password, salt, cost), digest)


def outdated(encoded: str, cost: Cost = NOW) -> bool:
    """Whether it was encoded with other parameters than are used now."""
    found = _parts(encoded)
    return found is None or found[0] != cost


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    room = 128 * cost.r * (cost.n + cost.p + 2)
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=room, dklen=_HASH_BYTES)


def _parts(encoded: str) -> tuple[Cost, bytes, bytes] | None:
    try:
        scheme, n, r, p, salt, digest = encoded.split("$")
        cost = Cost(int(n), int(r), int(p))
        raw = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except (ValueError, binascii.Error):
        return None
    sane = cost.n > 1 and cost.n & (cost.n - 1) == 0 and cost.r > 0 and cost.p == 1
    if scheme != "scrypt" or not sane or 128 * cost.r * cost.n > _LARGEST_BYTES or len(raw[1]) != _HASH_BYTES:
        return None
    return (cost, *raw)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
