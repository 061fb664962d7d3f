"""A password that was given on the command line, taken out of what every user of the machine sees in ``ps``.

Only on Linux, and only once the program has begun: the environment, or ``file:``, is where it should have come from.
"""

from __future__ import annotations

import contextlib
import os

_ARG_START = 45  # proc(5), /proc/pid/stat: fields 48 and 49, counted from the third, which follows the program's name


def conceal(secret: str, seen: str) -> None:
    """Writes ``seen`` (cut to its length, filled up with NUL) over every ``secret`` in our own /proc/self/cmdline."""
    written = os.fsencode(secret)
    instead = os.fsencode(seen)[: len(written)].ljust(len(written), b"\0")
    with contextlib.suppress(OSError, ValueError, IndexError):  # another system: it can be seen, as docs/ledger.md says
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            words = memory.read(end - start)
            at = words.find(written)
            while at >= 0:
                memory.seek(start + at)
                memory.write(instead)
                at = words.find(written, at + len(written))
