"""``python -m streamrouter`` and the ``streamrouter`` script."""

from __future__ import annotations

import os
import signal
from types import FrameType

from streamrouter.cli.main import cli


def main() -> None:
    """Runs the command line and exits with its code."""
    if os.getpid() == 1:  # of a container: the kernel drops what it has no handler for, and a start takes a moment
        signal.signal(signal.SIGTERM, _ended)
    cli(prog_name="streamrouter")


def _ended(number: int, frame: FrameType | None) -> None:
    """What a signal does to any other process; a server takes it over once there is something to drain."""
    os._exit(128 + number)


if __name__ == "__main__":
    main()
