"""A whole ``chat.completion``: decoded enough to be counted, handed on with our names, the rest as it came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from streamrouter.wire.chunk import Delta
from streamrouter.wire.halves import mask, unmask
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
_choices = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_encode = msgspec.json.Encoder().encode


class BadAnswer(ValueError):
    """A body that is no chat completion."""


def decode_answer(body: bytes) -> Answer:
    """The typed view of a whole answer. Raises BadAnswer: bad JSON, bad UTF-8, no choices and no error."""
    try:
        body.decode()
        answer = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        halved = _halved(body)
        if halved is None:
            raise BadAnswer(str(error)) from error
        answer = halved
    if not answer.choices and len(answer.error) <= 4:
        raise BadAnswer("no choices")
    return answer


def _halved(body: bytes) -> Answer | None:
    """An answer that is one but for halves of surrogate pairs: a limit may cut an emoji in two (halves.py)."""
    masked = mask(body)
    if masked is None:
        return None
    try:
        answer = _decoder.decode(masked)
        answer.choices = msgspec.convert(json.loads(body).get("choices"), list[AnswerChoice] | None)
    except (ValueError, RecursionError):  # msgspec's DecodeError is one
        return None
    return answer


def with_our_names(
    body: bytes,
    model: str,
    request_id: str | None,
    *,
    finish_reasons: Mapping[str, str] | None = None,
    missing: Mapping[str, Raw] | None = None,
    usage: Raw | None = None,
) -> bytes:
    """The answer with the public model id and our ``request_id``; an upstream's own is replaced, not doubled.

    ``request_id`` None: none is added. ``finish_reasons``: what the upstream's become (``*`` is any other, and none).
    ``missing``: members that the answer gets where it has none (or null). ``usage``: what stands for the upstream's.
    """
    try:
        members = members_of(body)
    except msgspec.DecodeError:
        masked = mask(body)
        if masked is None:
            raise
        names: Any = {"finish_reasons": finish_reasons, "missing": missing, "usage": usage}
        return unmask(with_our_names(masked, model, request_id, **names))
    members["model"] = Raw(_encode(model))
    if request_id is not None:
        members["request_id"] = Raw(_encode(request_id))
    if bytes(members.get("error", b"")) == b"null":
        del members["error"]
    if finish_reasons:
        members["choices"] = _finished(members["choices"], finish_reasons)
    for name, raw in (missing or {}).items():
        if bytes(members.get(name, b"null")) == b"null":
            members[name] = raw
    if usage is not None:
        members["usage"] = usage
    return _encode(members)


def _finished(choices: Raw, reasons: Mapping[str, str]) -> Raw:
    """The choices with their finish_reason translated; one that the table does not know stays as it is."""
    out = _choices(choices)
    for choice in out:
        raw = choice.get("finish_reason", Raw(b"null"))
        reason = msgspec.json.decode(raw)
        told = reasons.get(reason if isinstance(reason, str) else "*", reasons.get("*"))
        if told is not None:
            choice["finish_reason"] = Raw(_encode(told))
    return Raw(_encode(out))
