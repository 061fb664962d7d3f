"""Server-sent events: bytes in, payloads out. No I/O, no JSON, no clock.

The rules are the WHATWG event stream format (HTML Standard, 9.2.6 "Interpreting an event stream"), read as a proxy
for chat completions needs them:

- Lines end in LF, CR or CRLF, mixed as they come; one BOM at the very start is dropped.
- An event is the ``data`` lines up to a blank line. Comments and every other field (``event``, ``id``, ``retry``) are
  read and forgotten: nothing of theirs may reach a client.
- Data lines are joined by a space, not by LF: in a JSON text a line break between two tokens is white space, and a
  payload that never holds one can be forwarded as a single ``data`` line, byte for byte.
- A payload leaves without the white space around it, which JSON does not mean, and a blank one does not leave at all.
- What the end of the input cuts off is discarded, because half an event proves nothing. The one exception is a
  ``[DONE]`` that lacks its blank line: some servers end like that, and nothing can be missing from it.

Almost every read of a real stream is one or more whole ``data: {...}`` events. Those never enter the line loop: one
search says that the read is of that kind, and one split takes it apart.
"""

from __future__ import annotations

DONE = b"[DONE]"

_LF, _CR = 0x0A, 0x0D  # as integers: "in" is six times as fast with one as with a byte string
_BOM = b"\xef\xbb\xbf"
PREFIX = b"data: "  # how an event of one line begins
_SEPARATOR = b"\n\n" + PREFIX


class EventTooLarge(ValueError):
    """An event, or one line of it, is longer than the splitter may hold. The stream cannot be read any further."""


class Splitter:
    """Splits one event stream. After ``EventTooLarge`` it is of no further use.

    ``max_event_bytes`` bounds what is held between two reads: the read itself is the caller's to bound.
    """

    def __init__(self, max_event_bytes: int = 1 << 20) -> None:
        self._limit = max_event_bytes
        self._line = bytearray()  # the line that is still open
        self._data = (
            bytearray()
        )  # the data lines of the event that is still open, each with the space that joins it to the next
        self._after_cr = False  # the last byte was a CR: an LF that follows belongs to it
        self._started = False  # the first line is past, and with it the BOM
        self.between = False  # exactly between two events: a read may take the short way

    @property
    def pending(self) -> int:
        """Bytes held of an event that is not complete."""
        return len(self._line) + len(self._data)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that ``data`` completes, in order. Raises ``EventTooLarge``."""
        if not self.between:
            return self._feed_pending(data)
        end = len(data) - 2
        if (
            data.find(b"\n") == end
            and data[-1] == _LF
            and data.startswith(PREFIX)
            and _CR not in data
            and end < self._limit
        ):
            payload = data[6:end].strip()
            return [payload] if payload else []
        return self._feed_between(data)

    def finish(self) -> list[bytes]:
        """The input is at its end: ``[DONE]`` if that is what was pending, else nothing (see above)."""
        self._field(self._complete(b""))
        last = bytes(self._data).strip()
        self._data.clear()
        return [last] if last == DONE else []

    def _feed_pending(self, data: bytes) -> list[bytes]:
        cut = data.find(b"\n\n") + 2
        if cut < 2 or cut == len(data):
            return self._feed_lines(data)
        events = self._feed_lines(data[:cut])  # ends in a blank line, so the rest starts between two events
        events += self._feed_between(data[cut:])
        return events

    def _feed_between(self, data: bytes) -> list[bytes]:
        """Several events, the last of which may be cut."""
        cut = data.rfind(b"\n\n") + 2
        if cut < 2 or not data.startswith(PREFIX) or _CR in data or len(data) > self._limit:
            return self._feed_lines(data)
        events = _split(data[:cut])
        if events is None:
            return self._feed_lines(data)
        return events + self._feed_lines(data[cut:]) if cut < len(data) else events

    def _feed_lines(self, data: bytes) -> list[bytes]:
        """The long way: line by line, whatever the line ends are and wherever the read was cut."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[bytes] = []
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = self._complete(lines[0])
            self._take(lines, events)
        self._line += rest
        self._bound()
        self.between = self._started and not (self._line or self._data or self._after_cr)
        return events

    def _complete(self, end: bytes) -> bytes:
        """The open line with its end; the first line of all loses its BOM."""
        line = bytes(self._line) + end if self._line else end
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix(_BOM)
        return line

    def _take(self, lines: list[bytes], events: list[bytes]) -> None:
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                self._bound()
                payload = bytes(self._data).strip()
                self._data.clear()
                if payload:
                    events.append(payload)

    def _field(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data += line[6:] if line[5:6] == b" " else line[5:]
            self._data += b" "
        elif line == b"data":  # a field without a colon has an empty value
            self._data += b" "

    def _bound(self) -> None:
        if len(self._line) + len(self._data) > self._limit:
            raise EventTooLarge(f"an event of more than {self._limit} bytes")


def _split(data: bytes) -> list[bytes] | None:
    """``data`` starts with ``data: `` and ends with a blank line: its payloads, or None if it is not that simple.

    It is simple when every LF belongs to a blank line between two events, which their number proves.
    """
    payloads = data[6:-2].split(_SEPARATOR)
    if data.count(b"\n") != 2 * len(payloads):
        return None
    return [payload for each in payloads if (payload := each.strip())]


def frame(payload: bytes) -> bytes:
    """``payload`` (one JSON text, or ``[DONE]``) as one event on one ``data`` line.

    A line break in a JSON text is white space and becomes a space: a client that reads line by line still sees one
    text, and nothing behind a line break can pass for a field of its own.
    """
    if _LF in payload or _CR in payload:
        payload = payload.replace(b"\n", b" ").replace(b"\r", b" ")
    return b"data: " + payload + b"\n\n"
