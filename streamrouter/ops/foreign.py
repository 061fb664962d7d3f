"""What libraries log with Python's ``logging`` (asyncio, aiohttp, the ledger's writer) becomes lines of our log.

Only the first line of a message is taken, and of an exception its kind and place: the rest may hold an address, a
prompt or a key.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from streamrouter.ops.logs import Level, Log, where


class Foreign(logging.Handler):
    """Hands records on to ``log`` on ``loop``, whichever thread they come from. Add it to the root logger; nothing
    below a warning is asked for."""

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one line."""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        error = record.exc_info[1] if record.exc_info else None
        line = partial(
            self._log.event,
            level,
            "logged",
            logger=record.name,
            detail=record.getMessage().partition("\n")[0],
            kind=type(error).__name__ if error else None,
            at=where(error) if error else None,
        )
        try:
            self._loop.call_soon_threadsafe(line)
        except RuntimeError:  # the loop is over, and with it all that could log beside us
            line()
