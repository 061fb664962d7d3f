"""Taking over a changed configuration while streams go on: on SIGHUP, and when its file has changed.

A file that is wrong changes nothing: the configuration in force stays, and the log says what is wrong, with file and
line. A change of the file is taken over when it has been the same for two looks, so that one that is half written is
not read. What needs a restart is named and stays as it was (config/changes.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from streamrouter.app import App
from streamrouter.config.changes import Changes, changes, in_force
from streamrouter.config.load import Loaded
from streamrouter.config.schema import Config
from streamrouter.errors import ConfigError
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.server.server import Server

LOOK_S = 2.0
_MOST_FAULTS = 20  # lines of the log; who has more faults sees them with `streamrouter check`

Signature = tuple[tuple[int, int, int] | None, ...]


class Reloader:
    """``run`` until cancelled; ``ask`` is the signal. ``config`` is what is in force.

    ``again`` reads the configuration from where it came from, and raises ConfigError; it is called in a thread.
    """

    def __init__(
        self, loaded: Loaded, again: Callable[[], Loaded], app: App, server: Server, log: Log, metrics: Metrics
    ) -> None:
        self.config = loaded.config
        self._loaded = loaded
        self._again = again
        self._app = app
        self._server = server
        self._log = log
        self._metrics = metrics
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext  # what a reload happens within
        self._asked = asyncio.Event()
        self._taken = self._seen = self._signature()

    def ask(self) -> None:
        """Reload soon, whether the file has changed or not."""
        self._asked.set()

    async def run(self, look_s: float = LOOK_S) -> None:
        """Look every ``look_s`` seconds, or when asked; close what earlier configurations have left over."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await self._asked.wait()
            if self._asked.is_set() or self._changed():
                self._asked.clear()
                with self.around():
                    await self.once()
            await self._app.tidy()
            self._log.flush()

    async def once(self) -> Changes | None:
        """Read it again and take it over; None if it cannot be used."""
        self._taken = self._seen = self._signature()  # before it is read: a change meanwhile is one more change
        try:
            loaded = await asyncio.to_thread(self._again)
            self._server.renew_certificate(loaded.config.server.tls_cert, loaded.config.server.tls_key)
        except (ConfigError, OSError) as error:
            self._refuse(str(error).splitlines())
            return None
        self._metrics.reloaded("taken")
        found = changes(self.config, loaded.config)
        others, self._loaded = _files(self._loaded), loaded
        if _files(loaded) != others:
            self._taken = self._seen = self._signature()
        if found.taken:
            self._take(in_force(self.config, loaded.config))
            await self._app.warm()
        for warning in loaded.warnings:
            self._log.event("warning", "configuration", detail=warning)
        self._log.event("info", "reloaded", source=loaded.source, changed=", ".join(found.taken) or "nothing")
        if found.restart:
            self._log.event("warning", "restart_needed", keys=", ".join(found.restart))
        return found

    async def pending(self) -> dict[str, Any]:
        """What ``once`` would do now, for the desk (admin/pending.py); nothing is changed."""
        try:
            loaded = await asyncio.to_thread(self._again)
        except ConfigError as error:
            faults = str(error).splitlines()[:_MOST_FAULTS]
            return {"source": _whole(self._loaded), "changed": [], "restart": [], "faults": faults}
        found = changes(self.config, loaded.config)
        return {"source": _whole(loaded), "changed": found.taken, "restart": found.restart, "faults": []}

    def _take(self, config: Config) -> None:
        self._app.renew(config)
        self._log.level(config.log.level)
        self.config = config

    def _refuse(self, faults: list[str]) -> None:
        self._metrics.reloaded("refused")
        for fault in faults[:_MOST_FAULTS]:
            self._log.event("error", "reload_refused", fault=fault)
        if len(faults) > _MOST_FAULTS:
            self._log.event("error", "reload_refused", fault=f"and {len(faults) - _MOST_FAULTS} more")

    def _changed(self) -> bool:
        if not self.config.server.watch_config:
            return False
        before, self._seen = self._seen, self._signature()
        return before == self._seen != self._taken

    def _signature(self) -> Signature:
        return tuple(_stamp(path) for path in _files(self._loaded))


def _whole(loaded: Loaded) -> str:
    """Where a configuration is from, for somebody in another directory."""
    return os.path.realpath(loaded.source)


def _files(loaded: Loaded) -> list[Path]:
    """What a change is looked for in: the file, its price list, and the certificate."""
    server, file = loaded.config.server, Path(loaded.source)
    prices = [file.parent / loaded.config.prices] if loaded.config.prices else []
    return [file, *prices, *(Path(path) for path in (server.tls_cert, server.tls_key) if path)]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
