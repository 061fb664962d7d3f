"""One HTTP/1.1 answer of a chat completion as a load client sees it: bytes in, counts out, no I/O.

It reads no more than a measurement needs, so that the client is never what is measured: chunks are taken apart, events
are counted by the piece, and only an event that can matter (a usage, an error, one that is not JSON at a glance) is
decoded. ``thorough`` decodes each. Framing: RFC 9112; events: the HTML standard's server-sent events.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

LONGEST_HEAD = 65_536
Framing = Literal["head", "length", "chunked", "trailer", "close"]


class Answer:
    """``feed`` it until ``over``; then ``ending`` says how it went. ``reset`` makes it ready for the next."""

    __slots__ = (
        "_body",
        "_events",
        "_framing",
        "_known",
        "_known_head",
        "_left",
        "_rest",
        "_stream",
        "_thorough",
        "done",
        "fault",
        "keep",
        "over",
        "status",
        "tokens",
    )

    def __init__(self, *, stream: bool, thorough: bool = False) -> None:
        self._stream = stream
        self._thorough = thorough
        self._known_head = b""
        self._known: tuple[int, bool, bool, Framing, int] = (0, False, True, "close", 0)
        self.reset()

    def reset(self) -> None:
        """Forget the answer; what it came to must have been read."""
        self._framing: Framing = "head"
        self._events = False  # the body is a stream of events
        self._rest = b""  # of the head or of a chunk's line, incomplete
        self._body = b""  # an incomplete event, or a whole answer
        self._left = 0
        self.status = 0
        self.tokens = 0  # of completion, as the server's usage has it
        self.done = False  # [DONE] has come
        self.over = False
        self.keep = True  # the connection can take another request
        self.fault = ""

    def feed(self, data: bytes) -> int:
        """Takes what came; returns how many events (without ``[DONE]``) it completed."""
        if self._framing == "head":
            data = self._take_head(data)
            if self._framing == "head":
                return 0
        if self._framing == "length":
            self._left -= len(data)
            if self._left < 0:
                self._broken()
            self.over = self._left <= 0
        elif self._framing == "chunked":
            data = self._take_chunks(data)
        elif self._framing == "trailer":
            self._take_trailer(self._rest + data)
            return 0
        if self._events:
            return self._take_events(data) if data else 0
        self._body += data
        if self.over:
            self._take_whole()
        return 0

    def eof(self) -> None:
        """The connection has ended."""
        self.keep = False
        if self._framing == "close" and not self.over:
            self.over = True
            if not self._events:
                self._take_whole()

    def ending(self) -> str:
        """How the answer went: "" if well, else the kind of the error."""
        if self.status not in (0, 200):
            return f"status {self.status}"
        if self.fault:
            return self.fault
        if not self.status:
            return "closed"
        return "" if self.over and (self.done or not self._stream) else "truncated"

    def _broken(self) -> None:
        self.fault = self.fault or "malformed"
        self.over, self.keep = True, False

    def _take_head(self, data: bytes) -> bytes:
        """The head, when it is complete; what of the body came with it."""
        data = self._rest + data if self._rest else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest = data
            if len(data) > LONGEST_HEAD or not b"HTTP/1.1 ".startswith(data[:9]):
                self._framing = "close"
                self._broken()
            return b""
        self._rest = b""
        if data[9:10] == b"1":  # an interim answer: the real one follows
            return self._take_head(data[end + 4 :])
        head = data[:end]
        if head == self._known_head:  # one server's heads are mostly alike
            self.status, self._events, self.keep, self._framing, self._left = self._known
        else:
            self._read_head(head.lower())
            if not self.fault:
                self._known_head, self._known = head, (self.status, self._events, self.keep, self._framing, self._left)
        return data[end + 4 :]

    def _read_head(self, head: bytes) -> None:
        status = head[9:12]
        if not head.startswith(b"http/1.") or not status.isdigit():
            self._framing = "close"
            self._broken()
            return
        self.status = int(status)
        self._events = self.status == 200 and b"text/event-stream" in head
        self.keep = b"\r\nconnection: close" not in head
        if b"\r\ntransfer-encoding: chunked" in head:
            self._framing = "chunked"
            return
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._framing, self.keep = "close", False
            return
        length = head[at + 17 :].partition(b"\r\n")[0].strip()
        self._framing, self._left = "length", int(length) if length.isdigit() else -1

    def _take_chunks(self, data: bytes) -> bytes:
        """The payload in these bytes of a chunked body. ``_left``: of the chunk at hand, its CR LF included."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        pieces, at, end, left = [], 0, len(data), self._left
        while at < end:
            if left:  # of a chunk that an earlier piece began
                pieces.append(data[at : at + max(0, left - 2)])
                at, left = at + left, max(0, left - (end - at))
                continue
            line = data.find(b"\r\n", at)
            if line < 0:
                self._rest = data[at:]
                break
            try:
                size = int(data[at:line], 16)
            except ValueError:
                size = _chunk_size(data[at:line])
            at = line + 2
            if size <= 0:
                self._take_trailer(data[at:]) if size == 0 else self._broken()
                break
            pieces.append(data[at : at + size])
            at += size + 2
            left = max(0, at - end)
        self._left = left
        return b"".join(pieces)

    def _take_trailer(self, data: bytes) -> None:
        self._framing = "trailer"
        self._rest = data
        if data.startswith(b"\r\n") or b"\r\n\r\n" in data:
            self._rest = b""
            self.over = True

    def _take_events(self, data: bytes) -> int:
        """The events that ``data`` completes. Most pieces are looked at as a whole."""
        text = self._body + data if self._body else data
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        end = text.rfind(b"\n\n") + 2
        if end < 2:
            self._body = text
            return 0
        self._body, text = text[end:], text[:end]
        if self._thorough:
            return sum(map(self._take_event, text[:-2].split(b"\n\n")))
        head, tail = text, b""
        if not _all_plain(head):  # most often because of the last ones: finish reason, usage, [DONE]
            head, tail = _before_last(text, 3)
        if not _all_plain(head):
            head, tail = b"", text
        return head.count(b"\n") // 2 + (sum(map(self._take_event, tail[:-2].split(b"\n\n"))) if tail else 0)

    def _take_event(self, block: bytes) -> int:
        """One event; 1 if it counts. A comment or an event without data does not."""
        if not self._thorough and _is_plain(block):
            return 1
        lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
        if not lines:
            return 0
        data = b"\n".join(lines)
        if data == b"[DONE]":
            self.done = True
            return 0
        self._take_object(data, "choices")
        return 1

    def _take_whole(self) -> None:
        if self.status == 200:
            self._take_object(self._body, "" if self._stream else "choices")
            if self._stream:
                self.fault = self.fault or "malformed"  # a stream was asked for

    def _take_object(self, data: bytes, member: str) -> None:
        """Its usage and its fault, if any."""
        try:
            found: Any = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            self.fault = self.fault or "malformed"
        elif found.get("error") is not None:
            self.fault = self.fault or "error event"
        elif member and not isinstance(found.get(member), list):
            self.fault = self.fault or "malformed"
        else:
            usage = found.get("usage")
            told = usage.get("completion_tokens") if isinstance(usage, dict) else None
            self.tokens = told if isinstance(told, int) else self.tokens


def _chunk_size(line: bytes) -> int:
    """The size in a chunk's line that has an extension as well; -1 if there is none."""
    size = line.partition(b";")[0].strip()
    return int(size, 16) if size and not size.strip(b"0123456789abcdefABCDEF") else -1


def _is_plain(block: bytes) -> bool:
    """Whether it is an event like most, which only has to be counted."""
    return _all_plain(block + b"\n\n")


def _all_plain(text: bytes) -> bool:
    """Whether all events are like most: one line, an object at a glance, neither an error nor a usage."""
    between = text.count(b'}\n\ndata: {"')
    return (
        text.count(b"\n") == 2 * (between + 1)
        and text.startswith(b'data: {"')
        and text.endswith(b"}\n\n")
        and b'"error"' not in text
        and b'completion_tokens"' not in text
    )


def _before_last(text: bytes, events: int) -> tuple[bytes, bytes]:
    """The text without its last ``events`` events, and these."""
    at = len(text)
    for _ in range(events):
        at = text.rfind(b"\n\n", 0, max(0, at - 2)) + 2
        if at < 2:
            return b"", text
    return text[:at], text[at:]
