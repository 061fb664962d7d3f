"""One program in the place of another: the same process runs what is installed now, and nobody is refused meanwhile.

The new program is rehearsed first, in a process of its own: an upgrade that cannot even be imported, or a configuration
that it would not take, must be found while the old one still serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping

from streamrouter.errors import LedgerError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.lock import holder
from streamrouter.ops.logs import Log
from streamrouter.process.sockets import passed_on

REHEARSAL_S = 30.0
REHEARSE = "--dry-run"
_RETRY_S = 0.05
_SIGNALS = (signal.SIGHUP, signal.SIGUSR2)  # their default is the end of the process


def command() -> list[str]:
    """What this process was started with."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *sys.argv[1:]]
    return [sys.executable, *sys.orig_argv[1:]]


async def rehearse(words: list[str], timeout_s: float = REHEARSAL_S) -> list[str]:
    """Why ``words`` would not start, a line each; empty if it would."""
    null = asyncio.subprocess.DEVNULL
    try:
        trial = await asyncio.create_subprocess_exec(
            *words, REHEARSE, env=_afresh(os.environ), stdin=null, stdout=null, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        return [f"cannot be tried: {error.strerror}"]
    try:
        async with asyncio.timeout(timeout_s):
            _, said = await trial.communicate()
    except TimeoutError:
        trial.kill()
        await trial.wait()
        return [f"not done within {timeout_s:g} s"]
    if trial.returncode == 0:
        return []
    return said.decode(errors="replace").splitlines() or [f"exit code {trial.returncode}"]


def succeed(words: list[str], named: list[tuple[str, socket.socket]], environ: Mapping[str, str]) -> None:
    """Become ``words``, with these sockets. Does not return; raises OSError if it cannot be run."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # until the new program listens to it
    os.execve(words[0], words, _afresh(passed_on(named, environ)))


def _afresh(environ: Mapping[str, str]) -> dict[str, str]:
    """The one-file program is to unpack itself again: what is on the disk may be another version."""
    return {**environ, "PYINSTALLER_RESET_ENVIRONMENT": "1"}


async def opened(
    open_ledger: Callable[[], Awaitable[Ledger]], path: str, patience_s: float, log: Log, say: Callable[[str], object]
) -> Ledger:
    """The ledger, once the process before this one has given it up, if that is within ``patience_s`` seconds.

    Raises LedgerError: then it names the process, or says what else is wrong.
    """
    loop = asyncio.get_running_loop()
    deadline, waiting = loop.time() + patience_s, False
    while True:
        try:
            return await open_ledger()
        except LedgerError as error:
            if not isinstance(error.__cause__, BlockingIOError) or loop.time() >= deadline:
                raise
        if not waiting:
            waiting = True
            held = holder(os.path.realpath(path))
            pid = held.pid if held is not None else 0
            log.event("info", "ledger_awaited", pid=pid, at_most_s=patience_s)
            say(f"STATUS=waiting for process {pid} to leave the ledger")
        await asyncio.sleep(_RETRY_S)
