"""A whole ``chat.completion``: decoded enough to be counted, handed on with our names, the rest as it came in."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from streamrouter.wire.chunk import Delta
from streamrouter.wire.splice import members_of


class AnswerChoice(Struct):
    """One of ``n`` answers; a message has the same counted parts as a delta."""

    index: int = 0
    message: Delta | None = None
    finish_reason: str | None = None


class Answer(Struct):
    """The typed view. ``usage`` and ``error`` are raw: b"" is absent, b"null" is null."""

    choices: list[AnswerChoice] | None = None
    usage: Raw = Raw(b"")
    error: Raw = Raw(b"")


_decoder = msgspec.json.Decoder(Answer)
_encode = msgspec.json.Encoder().encode


class BadAnswer(ValueError):
    """A body that is no chat completion."""


def decode_answer(body: bytes) -> Answer:
    """The typed view of a whole answer. Raises BadAnswer: bad JSON, bad UTF-8, no choices and no error."""
    try:
        body.decode()
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(str(error)) from error
    if not answer.choices and len(answer.error) <= 4:
        raise BadAnswer("no choices")
    return answer


def with_our_names(body: bytes, model: str, request_id: str) -> bytes:
    """The answer with the public model id and our ``request_id``; an upstream's own is replaced, not doubled."""
    members = members_of(body)
    members["model"] = Raw(_encode(model))
    members["request_id"] = Raw(_encode(request_id))
    if bytes(members.get("error", b"")) == b"null":
        del members["error"]
    return _encode(members)
