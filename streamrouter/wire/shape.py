"""The shape that nearly all events of a stream share: the same bytes but for one piece of text.

Decoding every event costs microseconds; that two events differ in nothing but the text between two quotes is seen by
comparing bytes. A shape is learned from an event that was decoded and spliced the long way, and proved once: with any
other text in that place the same decoder reads that text there, and nothing else. Text is then all that is looked at,
and what is sent is what ``Splicer`` would have sent (property-tested against it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from streamrouter.wire.chunk import BadChunk, Chunk, decode_chunk, texts
from streamrouter.wire.splice import Splicer
from streamrouter.wire.sse import PREFIX

_PROOF = b"a text that no upstream sends 7f3e"
_END = b"\n\n"
_string = msgspec.json.Decoder(str).decode
_NAMES = ("content", "reasoning_content", "reasoning")
_OPENINGS = {name: re.compile(rb'"%b"[ \t]*:[ \t]*"' % name.encode()) for name in _NAMES}


class Run(Struct):
    """A row of events of one shape: what leaves for them, and the text that they hold together."""

    framed: bytes
    text: str
    events: int


class Shape(Struct, frozen=True):
    """``before`` and ``after`` surround the text in a payload; ``opening`` and ``closing`` in what is sent for it;
    ``head`` and ``tail`` in an event of the upstream as most write it, ``data: PAYLOAD`` and a blank line.
    """

    index: int
    channel: str
    before: bytes
    after: bytes
    opening: bytes
    closing: bytes
    head: bytes
    tail: bytes

    def length(self, payloads: Sequence[bytes], start: int) -> int:
        """How many payloads from ``start`` on look like this shape."""
        before, after = self.before, self.after
        least = len(before) + len(after)
        end = start
        for payload in payloads[start:] if start else payloads:
            if not (payload.startswith(before) and payload.endswith(after) and len(payload) >= least):
                break
            end += 1
        return end - start

    def one(self, event: bytes) -> tuple[bytes, str] | None:
        """What leaves for bytes that are one whole event, and its text; None if they are not one of this shape.

        A paced stream's way: the event's end is not searched for, because no text can hold a line break (``_text``).
        """
        head, tail = self.head, self.tail
        if not (event.startswith(head) and event.endswith(tail) and len(event) >= len(head) + len(tail)):
            return None
        piece = event[len(head) : -len(tail)]
        text = _text(piece, (piece,))
        return None if text is None else (self.opening + piece + self.closing, text)

    def run(self, payloads: Sequence[bytes]) -> Run | None:
        """Payloads that all look like this shape, as one; None if a text of theirs is no JSON string."""
        begin, end = len(self.before), -len(self.after)
        pieces = [payload[begin:end] for payload in payloads]
        text = _text(b"".join(pieces), pieces)
        if text is None:
            return None
        framed = b"%b%b%b" % (self.opening, (self.closing + self.opening).join(pieces), self.closing)
        return Run(framed, text, len(pieces))


def _text(joined: bytes, pieces: Sequence[bytes]) -> str | None:
    """The text of JSON strings, given without their quotes, ``joined`` and each; None if one is none.

    A string that holds a control character as it is, a line break say, is none (RFC 8259, 7).
    """
    if joined.isascii() and b'"' not in joined and b"\\" not in joined:
        text = joined.decode("ascii")
        if text.isprintable():
            return text
    try:
        return "".join([_string(b'"%b"' % piece) for piece in pieces])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def learn(payload: bytes, chunk: Chunk, splicer: Splicer) -> Shape | None:
    """The shape of an event, which ``chunk`` is the decoded form of; None if it has none (a finish, a tool call)."""
    if chunk.has_usage or len(chunk.error) or chunk.choices is None or len(chunk.choices) != 1:
        return None
    choice = chunk.choices[0]
    said = list(texts(choice.delta))
    if choice.finish_reason is not None or choice.delta is None or len(said) != 1:
        return None
    for name in _NAMES:
        if getattr(choice.delta, name) == said[0][1]:
            return _around(payload, _OPENINGS[name], choice.index, said[0][0], splicer)
    return None


def _around(payload: bytes, member: re.Pattern[bytes], index: int, channel: str, splicer: Splicer) -> Shape | None:
    found = member.search(payload)
    if found is None:
        return None
    at = found.end()
    end = _string_end(payload, at)
    before, after = payload[:at], payload[end:]
    proof = before + _PROOF + after
    try:
        chunk = decode_chunk(proof)
    except BadChunk:
        return None
    same = chunk.choices and len(chunk.choices) == 1 and chunk.choices[0].index == index
    if not same or list(texts(chunk.choices[0].delta)) != [(channel, _PROOF.decode())]:  # type: ignore[index]
        return None
    framed = splicer.known(proof)
    if framed is None or framed.count(_PROOF) != 1 or payload.count(_PROOF):
        return None
    opening, _, closing = framed.partition(_PROOF)
    return Shape(index, channel, before, after, opening, closing, PREFIX + before, after + _END)


def _string_end(payload: bytes, at: int) -> int:
    """Where the JSON string that begins at ``at`` ends: its closing quote."""
    while True:
        quote = payload.find(b'"', at)
        slashes = quote - len(payload[:quote].rstrip(b"\\"))
        if slashes % 2 == 0 or quote < 0:
            return quote
        at = quote + 1
