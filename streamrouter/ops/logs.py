"""The log: JSON lines on a pipe, one coloured line per request on a terminal.

One ``Log`` is made at the start and handed to whoever logs. A line leaves in one ``write``, so that lines of several
processes on one pipe do not mix. A log never fails a request and never holds one up: what its reader does not take
waits in a bounded queue, and what that does not hold is counted in ``dropped`` (ops/lines.py). Fields never hold
prompts, answers or secrets; the callers see to that, the cleaning here sees to lines that stay lines
(docs/reliability.md S20).
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from streamrouter.clock import Clock
from streamrouter.config.schema import LogConfig
from streamrouter.ops.lines import MOST_TAILED, Lines, Tail
from streamrouter.ops.phrases import request_phrase

Level = Literal["debug", "info", "warning", "error"]

_STDERR = 2
_LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LONGEST_FIELD = 256
_INT64 = 2**63
# A terminal's escape sequences as wholes, then: C0, DEL, C1, line and paragraph separators, everything that turns the
# direction of text, zero-width characters, and lone surrogates (which no UTF-8 can carry).
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

_RESET = "\x1b[0m"
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_DIM = "\x1b[2m"


def clean(text: str) -> str:
    """``text`` as it may stand in a log: one line, no control or direction characters, at most 256 characters."""
    head = text[: 4 * _LONGEST_FIELD]  # bounds the work for a field of megabytes
    plain = _UNPRINTABLE.sub("", _ANSI.sub("", head))
    if len(plain) > _LONGEST_FIELD or len(text) > len(head):
        return plain[: _LONGEST_FIELD - 1] + "…"
    return plain


def _loggable(value: Any) -> Any:
    if type(value) is str and len(value) <= _LONGEST_FIELD and value.isprintable():  # most: nothing to take out
        return value
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else clean(str(value))
    return clean(value if isinstance(value, str) else str(value))


class Log:
    """Where log lines go, one call each. Used on the loop."""

    def __init__(self, clock: Clock, *, fd: int = _STDERR, json: bool = True, colour: bool = False) -> None:
        self._clock = clock
        self._lines = Lines(fd)
        self._file: str | None = None
        self._json = json
        self._colour = colour
        self._lowest = _LEVELS["info"]
        self._tails: list[Tail] = []
        self._second = -1

    @classmethod
    def from_config(cls, config: LogConfig, clock: Clock, environ: Mapping[str, str]) -> Log:
        """The log that ``[log]`` describes. Raises OSError if its file cannot be opened."""
        fd = _open(config.file) if config.file else _STDERR
        terminal = os.isatty(fd)
        text = config.format == "text" or (config.format == "auto" and terminal)
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        log = cls(clock, fd=fd, json=not text, colour=text and terminal and not plain)
        log._file = config.file
        log.level(config.level)
        return log

    @property
    def dropped(self) -> int:
        """How many lines could not be written."""
        return self._lines.dropped

    def level(self, lowest: Level) -> None:
        """Leave out what is below ``lowest`` from now on."""
        self._lowest = _LEVELS[lowest]

    def subscribe(self, most: int = MOST_TAILED) -> Tail:
        """Every line from now on, of every level, for a reader inside the process: see ``lines.Tail``."""
        tail = Tail(most)
        self._tails.append(tail)
        return tail

    def unsubscribe(self, tail: Tail) -> None:
        """Its reader is gone. A second call does nothing."""
        if tail in self._tails:
            self._tails.remove(tail)

    def request(self, fields: Mapping[str, Any]) -> None:
        """One finished request: a bug of ours (500) is an error, an upstream's or a shutdown's failure a warning."""
        status = fields.get("status")
        level: Level = "error" if status == 500 else "warning" if isinstance(status, int) and status > 500 else "info"
        self._write(level, "request", fields)

    def event(self, level: Level, event: str, **fields: Any) -> None:
        """Anything else worth a line: ``event`` is a short fixed name, the fields are the particulars."""
        self._write(level, event, fields)

    def reopen(self) -> None:
        """Open the file again under its name (it was rotated). Raises OSError, and then goes on with the old one."""
        if self._file is not None:
            old = self._lines.fd
            self._lines.move(_open(self._file))
            os.close(old)

    def flush(self) -> None:
        """Write what waits, as far as it is taken now."""
        self._lines.flush()

    def close(self) -> None:
        """Close the file, if there is one of ours."""
        self._lines.flush()
        if self._file is not None:
            self._file = None
            old = self._lines.fd
            self._lines.move(_STDERR)
            os.close(old)

    def _write(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        written = _LEVELS[level] >= self._lowest
        if not written and not self._tails:
            return
        now, stamp = self._now()
        head = {"time": stamp, "level": level, "event": event}
        cleaned = {
            key: value if type(value) is int and -_INT64 < value < _INT64 else _loggable(value)
            for key, value in fields.items()
            if value is not None
        }
        line = head | cleaned
        if not cleaned.keys().isdisjoint(head):
            line |= head  # it comes first, and no field replaces it
        for tail in self._tails:
            tail.put(line)
        if written and self._json:
            self._lines.put(orjson.dumps(line) + b"\n")
        elif written:
            self._lines.put((self._text(now, level, event, cleaned) + "\n").encode())

    def _now(self) -> tuple[datetime, str]:
        """The second that it is, and the moment as ISO 8601; a datetime is made once a second."""
        second, ns = divmod(self._clock.now_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._made = datetime.fromtimestamp(second, UTC)
            self._stamp = f"{self._made:%Y-%m-%dT%H:%M:%S}"
        return self._made, f"{self._stamp}.{ns // 1_000_000:03d}+00:00"

    def _text(self, now: datetime, level: Level, event: str, fields: dict[str, Any]) -> str:
        if event == "request":
            headline, rest = request_phrase(fields)
        else:
            headline, rest = f"{level} {event}", " ".join(f"{key}={value}" for key, value in fields.items())
        headline = headline or event
        if not self._colour:
            return f"{now:%H:%M:%S} {headline}  {rest}".rstrip()
        refused = level == "info" and headline.startswith("4")
        shade = _COLOURS["warning" if refused else level]
        return f"{_DIM}{now:%H:%M:%S}{_RESET} {shade}{headline}{_RESET}  {_DIM}{rest}{_RESET}"


def _open(path: str) -> int:
    """Append-only, for the owner and the group alone."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def where(error: BaseException) -> str:
    """File and line of an unexpected error. Its text stays out of the log: it may hold addresses or a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('streamrouter/')[2]}:{frames[-1].lineno}" if frames else ""
