"""Counting prompt tokens before anything is sent: what a reservation holds, and what is charged without usage.

Text is counted with ``encode_ordinary``, so ``<|endoftext|>`` in user text is text. Every call to tiktoken gets at most
``PIECE_CHARS`` characters: its regex engine gives up (a panic) after about a million backtracking steps, which a
million spaces reach, and a run without any boundary costs more per byte the longer it is. Long text is cut where the
split patterns of both encodings have a boundary anyway, so the count does not change; only inside a run of
``PIECE_CHARS`` without one (a wall of letters or spaces) is it cut hard. In two million tries that never took more than
2 tokens away (nor added more than 3), so each hard cut adds ``HARD_CUT_TOKENS`` and the sum is not below the whole.

Measured, tiktoken 0.14: 2 to 4 ms per 64 KiB of prose or code, at most 18 ms per 64 KiB of anything (spaces). The GIL
is released while tiktoken encodes, and nothing here keeps state between calls: any thread may count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from streamrouter.policy.images import image_tokens as tile_rule_tokens

PIECE_CHARS = 8192
HARD_CUT_TOKENS = 3
THREAD_BYTES = 64 * 1024

# OpenAI's rule for chat (its cookbook, "How to count tokens with tiktoken"): these, plus role, content and name.
MESSAGE_TOKENS = 3
NAME_TOKENS = 1
REPLY_TOKENS = 3
# Allowances for the frame that is rendered around one call (recipient, channel) and one top-level member (a namespace).
CALL_TOKENS = 8
EXTRA_TOKENS = 16

# A token of audio input stands for a tenth of a second. WAV: no PCM is slower than 8,000 bytes a second. Anything else
# is taken for 16 kbit/s, below what speech is compressed to, so that a reservation is rather too large.
WAV_BYTES_PER_TOKEN = 800
AUDIO_BYTES_PER_TOKEN = 200
# A file costs a token per 3 bytes as sent (base64), that is per 2.25 bytes of the file: plain text needs 4.
FILE_BYTES_PER_TOKEN = 3
# Content that the upstream keeps under an id (a file, the audio of an earlier answer): its size is not known here.
REFERENCE_TOKENS = 2048

# Estimates for an unknown tokenizer: 15 % and 64 tokens (a chat template) above the local count.
MARGIN_PERCENT = 15
MARGIN_TOKENS = 64

# Content with more opening braces is counted as JSON: each could become a dict of 300 bytes before it is counted.
_MOST_BRACES = 131_072

# Where both split patterns have a boundary whatever else is around: before a blank after a non-blank, before
# punctuation (but the apostrophe of a contraction) after a letter or digit, and after a line break before a non-blank
# (but "/", which o200k lets punctuation run into). One set comes first, to which the regex engine skips fast.
_PUNCTUATION = r"!-&(-/:-@\[-`{-~、。〈-】！（），：；？"
_BOUNDARY = re.compile(rf"[ \t\n{_PUNCTUATION}](?:(?<=\S[ \t])|(?<=[^\W_][{_PUNCTUATION}])|(?<=\n)(?=[^\s/]))")
# The data of a data URL, also where its slashes are escaped.
_BASE64 = re.compile(rb";base64,[A-Za-z0-9+/=\\]*")


class Encoder(Protocol):
    """What is needed of a ``tiktoken.Encoding``."""

    def encode_ordinary(self, text: str, /) -> list[int]:
        """The tokens of a text."""
        ...


class PromptCount(Struct, frozen=True):
    """``local``: tokens by our own count. ``bound``: what to reserve (see docs/ledger.md "Reserve")."""

    local: int
    bound: int


class _Url(Struct):
    url: str
    detail: str | None = None


class _Audio(Struct):
    data: str


class _File(Struct):
    file_data: str = ""
    file_id: str | None = None
    filename: str | None = None


class _Function(Struct, forbid_unknown_fields=True):
    name: str
    arguments: str = ""
    input: str = ""


class _Call(Struct, forbid_unknown_fields=True):
    """A tool call of OpenAI's two types. Chat templates render all of it, so with more in it, it is counted as JSON."""

    id: str = ""
    type: str = ""
    index: int = 0
    function: _Function | None = None
    custom: _Function | None = None


T = TypeVar("T")
_text = msgspec.json.Decoder(str).decode
_parts = msgspec.json.Decoder(list[dict[str, Raw]] | None).decode
_image = msgspec.json.Decoder(_Url | str | None).decode
_audio = msgspec.json.Decoder(_Audio | None).decode
_file = msgspec.json.Decoder(_File | None).decode
_calls = msgspec.json.Decoder(list[_Call] | None).decode
_function = msgspec.json.Decoder(_Function | None).decode

_NULL = Raw(b"null")
_WAV = "UklGR"  # base64 of "RIFF"
_NOT_AS_DOCUMENTED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def needs_thread(size_bytes: int) -> bool:
    """Whether counting this many bytes would hold up the event loop for too long (64 KiB: up to ~18 ms)."""
    return size_bytes > THREAD_BYTES


def count_text(encoding: Encoder, text: str) -> int:
    """Tokens of a text; exact but for runs above ``PIECE_CHARS`` without a boundary. A lone surrogate is U+FFFD."""
    if len(text) <= PIECE_CHARS:
        return _count_piece(encoding, text)
    total = sum(_count_piece(encoding, piece) + HARD_CUT_TOKENS * hard for piece, hard in pieces(text))
    return min(total, utf8_length(text))


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces of at most ``PIECE_CHARS`` characters, cut at boundaries of the tokenizer; True: there was none."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        middle, end = start + PIECE_CHARS // 2, start + PIECE_CHARS
        boundary = _BOUNDARY.search(text, middle, end) or _BOUNDARY.search(text, start + 1, middle)
        cut = end if boundary is None else boundary.end() if boundary[0] == "\n" else boundary.start()
        yield text[start:cut], boundary is None
        start = cut
    yield text[start:], False


def count_prompt(
    encoding: Encoder,
    exact: bool,
    messages: Iterable[dict[str, Raw]],
    extras: dict[str, Raw],
    image_tokens: int | None = None,
    count: Callable[[str], int] | None = None,
) -> PromptCount:
    """What the messages and the top-level members that cost input (tools, response_format, prediction, ...) come to.

    ``exact``: the encoding is the model's own, so the count is also the bound; else the bound is 15 % + 64 above it,
    but never above the UTF-8 bytes of all text (no byte-level tokenizer makes more) plus the overhead. ``image_tokens``
    replaces the tile rule, per image. ``count``: a quicker way to what ``count_text`` gives. Never raises for what a
    client sent: a value that is not what OpenAI documents is counted as the JSON text that it is.
    """
    tally = _Tally(count or partial(count_text, encoding), image_tokens)
    for message in messages:
        tally.add_message(message)
    for raw in extras.values():
        tally.add_extra(raw)
    overhead = tally.overhead + REPLY_TOKENS
    local = tally.text + overhead
    if exact:
        return PromptCount(local, local)
    with_margin = -(-local * (100 + MARGIN_PERCENT) // 100) + MARGIN_TOKENS
    return PromptCount(local, min(with_margin, tally.text_bytes + overhead))


class _Tally:
    """Running sums of one prompt: tokens of text, bytes of that text, and tokens of all that is no text."""

    __slots__ = ("count", "image_tokens", "overhead", "text", "text_bytes")

    def __init__(self, count: Callable[[str], int], image_tokens: int | None) -> None:
        self.count = count
        self.image_tokens = image_tokens
        self.text = 0
        self.text_bytes = 0
        self.overhead = 0

    def add_message(self, message: dict[str, Raw]) -> None:
        self.overhead += MESSAGE_TOKENS
        for name, raw in message.items():
            _MEMBERS.get(name, _Tally.add_value)(self, raw)

    def add_extra(self, raw: Raw) -> None:
        if raw != _NULL:
            self.overhead += EXTRA_TOKENS
            self.add_json(raw)

    def add_text(self, text: str) -> None:
        self.text += self.count(text)
        self.text_bytes += utf8_length(text)

    def add_json(self, raw: Raw) -> None:
        """The JSON text itself."""
        self.add_text(bytes(raw).decode("utf-8", "replace"))

    def add_payload(self, raw: Raw) -> None:
        """JSON in which base64 data URLs are data: they cost what a file of their size does."""
        data = bytes(raw)
        if b";base64," in data:
            rest = _BASE64.sub(b"", data)
            self.overhead += -(-(len(data) - len(rest)) // FILE_BYTES_PER_TOKEN)
            data = rest
        if data != b"null":
            self.add_text(data.decode("utf-8", "replace"))

    def add_value(self, raw: Raw) -> None:
        """A member that nothing special is known of: a string is text, null is nothing, all else is JSON."""
        try:
            self.add_text(_text(raw))
        except _NOT_AS_DOCUMENTED:
            self.add_payload(raw)

    def add_name(self, raw: Raw) -> None:
        if raw != _NULL:
            self.overhead += NAME_TOKENS
            self.add_value(raw)

    def add_content(self, raw: Raw) -> None:
        """A string, null, or a list of parts."""
        try:
            self.add_text(_text(raw))
        except _NOT_AS_DOCUMENTED:
            self._add_parts(raw)

    def _add_parts(self, raw: Raw) -> None:
        if len(memoryview(raw)) > _MOST_BRACES and bytes(raw).count(b"{") > _MOST_BRACES:
            self.add_payload(raw)
            return
        for part in self._decoded(_parts, raw) or ():
            for name, value in part.items():
                if name != "type":  # the other member's name says the same
                    _PARTS.get(name, _Tally.add_payload)(self, value)

    def add_image(self, raw: Raw) -> None:
        image = self._decoded(_image, raw)
        if image is None:
            return
        if self.image_tokens is not None:
            self.overhead += self.image_tokens
        elif isinstance(image, str):
            self.overhead += tile_rule_tokens(image, None)
        else:
            self.overhead += tile_rule_tokens(image.url, image.detail)

    def add_audio(self, raw: Raw) -> None:
        audio = self._decoded(_audio, raw)
        if audio is not None:
            per_token = WAV_BYTES_PER_TOKEN if audio.data.startswith(_WAV) else AUDIO_BYTES_PER_TOKEN
            self.overhead += -(-len(audio.data) * 3 // (4 * per_token))

    def add_file(self, raw: Raw) -> None:
        file = self._decoded(_file, raw)
        if file is not None:
            self.overhead += -(-utf8_length(file.file_data) // FILE_BYTES_PER_TOKEN)
            self.overhead += REFERENCE_TOKENS if file.file_id else 0
            self.add_text(file.filename or "")

    def add_earlier_audio(self, raw: Raw) -> None:
        """``audio`` of an assistant message: the id of an earlier answer."""
        if raw != _NULL:
            self.overhead += REFERENCE_TOKENS
            self.add_value(raw)

    def add_calls(self, raw: Raw) -> None:
        """``tool_calls``: ids, names and arguments, and a frame around each."""
        try:
            calls = _calls(raw)
        except _NOT_AS_DOCUMENTED:
            self._add_unknown_calls(raw)
            return
        for call in calls or ():
            self.overhead += CALL_TOKENS
            self.add_text(call.id)
            self._add_function(call.function)
            self._add_function(call.custom)

    def add_function_call(self, raw: Raw) -> None:
        """``function_call``, the form before ``tool_calls``."""
        try:
            function = _function(raw)
        except _NOT_AS_DOCUMENTED:
            self._add_unknown_calls(raw)
            return
        self.overhead += CALL_TOKENS if function else 0
        self._add_function(function)

    def _add_function(self, function: _Function | None) -> None:
        if function is not None:
            for text in (function.name, function.arguments, function.input):
                self.add_text(text)

    def _add_unknown_calls(self, raw: Raw) -> None:
        self.overhead += CALL_TOKENS
        self.add_json(raw)

    def _decoded(self, decode: Callable[[Raw], T], raw: Raw) -> T | None:
        """The value; None if it is null, or not of that form and so counted as a payload."""
        try:
            return decode(raw)
        except _NOT_AS_DOCUMENTED:
            self.add_payload(raw)
            return None


_MEMBERS: dict[str, Callable[[_Tally, Raw], None]] = {
    "audio": _Tally.add_earlier_audio,
    "content": _Tally.add_content,
    "function_call": _Tally.add_function_call,
    "name": _Tally.add_name,
    "tool_calls": _Tally.add_calls,
}
_PARTS: dict[str, Callable[[_Tally, Raw], None]] = {
    "file": _Tally.add_file,
    "image_url": _Tally.add_image,
    "input_audio": _Tally.add_audio,
    "refusal": _Tally.add_value,
    "text": _Tally.add_value,
}


def _count_piece(encoding: Encoder, piece: str) -> int:
    try:
        return len(encoding.encode_ordinary(piece))
    except BaseException as error:  # what pyo3 makes of a Rust panic is no Exception, and cannot be imported
        if type(error).__name__ != "PanicException":
            raise
        return utf8_length(piece)


def utf8_length(text: str) -> int:
    """Bytes of a text in UTF-8: no byte-level tokenizer makes more tokens of it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
