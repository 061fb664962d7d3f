"""A whole ``chat.completion`` where a stream was asked for: the chunks that would have said the same.

Some upstreams answer ``stream: true`` with one JSON object. Each choice becomes a chunk with everything its message
says, then one with its finish_reason; usage comes last, alone, as in a stream that was asked for it. Values stay the
bytes they came in. ``[DONE]`` is for the caller to add.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from streamrouter.wire.halves import mask, unmask

_IDENTITY: Final = ("id", "created", "model", "service_tier", "system_fingerprint")
_NULL: Final = Raw(b"null")
_ZERO: Final = Raw(b"0")
_STOP: Final = Raw(b'"stop"')
# What every chunk must have, should the answer lack it; the relay puts our own model and request id over it.
_FALLBACK: Final = {"id": Raw(b'"chatcmpl-whole"'), "created": _ZERO, "model": Raw(b'""')}

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_calls = msgspec.json.Decoder(list[dict[str, Raw]] | None).decode
_encode = msgspec.json.Encoder().encode


class _Answer(Struct):
    """As much of a ``chat.completion`` as tells it from anything else. ``object`` is forgotten by some upstreams."""

    choices: list[dict[str, Raw]]
    object: str = "chat.completion"
    error: Any = None
    usage: Raw = _NULL


_answer = msgspec.json.Decoder(_Answer).decode


def chunks_of(answer: bytes) -> list[bytes] | None:
    """The payloads of the stream that ``answer`` stands for, or None if it is not a ``chat.completion``.

    A choice without a finish_reason gets ``stop``: the answer is one complete JSON text, so nothing is missing.
    """
    try:
        masked = mask(answer)
        if masked is None:
            return _chunks(answer)
        payloads = _chunks(masked)  # of text whose emoji a limit has cut in two
        return None if payloads is None else [unmask(payload) for payload in payloads]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _chunks(answer: bytes) -> list[bytes] | None:
    msgspec.json.decode(answer)  # values that stay raw are not looked into: bad UTF-8 in one must not reach a client
    answer = msgspec.json.format(answer, indent=-1)  # nor a line break, which would end its event
    whole = _answer(answer)
    if whole.object != "chat.completion" or whole.error is not None or not whole.choices:
        return None
    members = _members(answer)
    head: dict[str, Any] = _FALLBACK | {name: members[name] for name in _IDENTITY if name in members}
    head["object"] = "chat.completion.chunk"
    choices = [_choice(position, choice) for position, choice in enumerate(whole.choices)]
    payloads = [_encode(head | {"choices": [said]}) for said, _ in choices]
    payloads += [_encode(head | {"choices": [finished]}) for _, finished in choices]
    if whole.usage != _NULL:
        payloads.append(_encode(head | {"choices": [], "usage": whole.usage}))
    return payloads


def _choice(position: int, choice: dict[str, Raw]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one choice said, and how it finished. Raises ``DecodeError`` if it has no message."""
    index, reason = choice.get("index", position), choice.get("finish_reason", _NULL)
    said = {"index": index, "delta": dict(_delta(choice.get("message", _NULL))), "finish_reason": None}
    if "logprobs" in choice:
        said["logprobs"] = choice["logprobs"]
    return said, {"index": index, "delta": {}, "finish_reason": _STOP if reason == _NULL else reason}


def _delta(message: Raw) -> Iterator[tuple[str, Any]]:
    """The message as a delta: the same members, but tool calls carry their index in a stream."""
    for name, raw in _members(message).items():
        if name == "tool_calls":
            calls = _calls(raw)
            if calls:
                yield name, [{"index": index} | call for index, call in enumerate(calls)]
        elif raw != _NULL or name == "content":
            yield name, raw
