"""A stream chunk, decoded just enough to be counted.

Decoding with types costs ~0.4 µs, proves that the event is one complete JSON object, and gives every piece of text that
a model was paid for: content, reasoning, refusals, tool-call names and arguments, audio transcripts. The rest of the
chunk stays the bytes it came in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from streamrouter.wire.halves import mask

_ABSENT = Raw(b"")


class FunctionDelta(Struct):
    """A piece of a tool call. Some upstreams send arguments as an object instead of a string."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None


class ToolCallDelta(Struct):
    """One entry of ``delta.tool_calls``; ``custom`` is the free-form kind."""

    index: int | None = None
    function: FunctionDelta | None = None
    custom: FunctionDelta | None = None


class AudioDelta(Struct):
    """Spoken output: only its transcript can be counted here."""

    transcript: str | None = None


class Delta(Struct):
    """What one event adds to one choice. ``reasoning_content`` and ``reasoning`` are two names for one thing."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    function_call: FunctionDelta | None = None
    audio: AudioDelta | None = None


class Choice(Struct):
    """One of ``n`` answers."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(Struct):
    """One event's payload. ``usage`` and ``error`` are raw: b"" is absent, b"null" is null."""

    choices: list[Choice] | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT

    @property
    def has_usage(self) -> bool:
        return len(self.usage) > 4  # neither absent nor null

    @property
    def has_error(self) -> bool:
        return len(self.error) > 4 or (len(self.error) > 0 and bytes(self.error) != b"null")


_decoder = msgspec.json.Decoder(Chunk)


class BadChunk(ValueError):
    """An event that is not a chunk: bad JSON, bad UTF-8, or types that no upstream means."""


def decode_chunk(payload: bytes) -> Chunk:
    """The typed view of one event's payload. Raises BadChunk."""
    try:
        if not payload.isascii():
            payload.decode()  # msgspec checks UTF-8 only in strings that it reads
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        chunk = None if b"\\u" not in payload else _halved(payload)
        if chunk is None:
            raise BadChunk(str(error)) from error
        return chunk


def _halved(payload: bytes) -> Chunk | None:
    """A chunk that is one but for halves of surrogate pairs (halves.py), which its texts have as they are."""
    masked = mask(payload)
    if masked is None:
        return None
    try:
        chunk = _decoder.decode(masked)
        chunk.choices = msgspec.convert(json.loads(payload).get("choices"), list[Choice] | None)
    except (ValueError, RecursionError):  # msgspec's DecodeError is one
        return None
    return chunk


def texts(delta: Delta | None) -> Iterator[tuple[str, str]]:
    """(channel, text) for everything in a delta or message that costs output tokens; a channel is one text."""
    if delta is None:
        return
    if delta.content:
        yield "content", delta.content if isinstance(delta.content, str) else part_text(delta.content)
    if delta.reasoning_content:
        yield "reasoning", delta.reasoning_content
    elif delta.reasoning:
        yield "reasoning", delta.reasoning
    if delta.refusal:
        yield "refusal", delta.refusal
    if delta.tool_calls:
        for position, tool in enumerate(delta.tool_calls):
            channel = f"tool{position if tool.index is None else tool.index}"
            for function in (tool.function, tool.custom):
                yield from _function(channel, function)
    yield from _function("function", delta.function_call)
    if delta.audio is not None and delta.audio.transcript:
        yield "audio", delta.audio.transcript


def _function(channel: str, function: FunctionDelta | None) -> Iterator[tuple[str, str]]:
    if function is None:
        return
    if function.name:
        yield channel, function.name
    if isinstance(function.arguments, str):
        yield channel, function.arguments
    elif function.arguments is not None:
        yield channel, msgspec.json.encode(function.arguments).decode()
    if function.input:
        yield channel, function.input


def part_text(parts: list[Any]) -> str:
    """The text of content that comes as a list of parts (strings found at any depth, in order)."""
    found: list[str] = []
    pending: list[Any] = list(reversed(parts))
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, dict):
            pending.extend(value for key, value in reversed(part.items()) if key != "type")
        elif isinstance(part, list):
            pending.extend(reversed(part))
    return "".join(found)
