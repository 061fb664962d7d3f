r"""Halves of surrogate pairs: an emoji whose escapes an upstream sends in two events (``"\ud83d"``, then ``"\ude00"``).

Neither event alone is text, and a strict JSON decoder refuses both; a client that joins the deltas has the emoji. Such
an event is looked at with its halves masked by private characters, handed on with the escapes that it came with, and
counted with its halves as they are: a tokenizer joins those of one text. Only what was refused comes here.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD])([89a-fA-F])([0-9a-fA-F]{2})|.)", re.DOTALL
)
_MASKS = re.compile(rb"\\u([eE])([0-7])([0-9a-fA-F]{2})")
_MASKED = "89abcdef"  # the second digit of a half; its place here is that of its mask


def mask(payload: bytes) -> bytes | None:
    """JSON whose halves are masked, as long as before; None where there are none (or they could not be told apart)."""
    if _MASKS.search(payload):
        return None
    masked = _ESCAPES.sub(_masked, payload)
    return None if masked == payload else masked


def unmask(payload: bytes) -> bytes:
    """The halves of a ``mask`` again, wherever they are now."""
    return _MASKS.sub(_unmasked, payload)


def _masked(found: re.Match[bytes]) -> bytes:
    first, second, rest = found.groups()
    if first is None:  # a whole pair, or another escape
        return found[0]
    return b"\\u%b%d%b" % (b"E" if first == b"D" else b"e", _MASKED.index(second.decode().lower()), rest)


def _unmasked(found: re.Match[bytes]) -> bytes:
    first, second, rest = found.groups()
    digit = _MASKED[int(second)].encode()
    return b"\\u%b%b%b" % ((b"D", digit.upper(), rest) if first == b"E" else (b"d", digit, rest))
