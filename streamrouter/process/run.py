"""The life of one process: open the ledger, listen, say how to try it, serve, drain, stop.

The order matters: the listening socket is bound first (a taken port must not open books), the ledger is recovered
before the first request is accepted, tokenizers load after listening, and on the way out nothing is closed before the
streams that use it have ended. What comes after (nothing, a service manager's next process, or a newer program in this
one) decides how that is done: ``leaving.py``, ``succession.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import uvloop

from streamrouter import __version__
from streamrouter.app import App, make_upstreams
from streamrouter.clock import Clock, SystemClock
from streamrouter.config.load import Loaded
from streamrouter.config.place import is_database
from streamrouter.control import ControlServer
from streamrouter.errors import ConfigError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.foreign import Foreign
from streamrouter.ops.logs import Log, where
from streamrouter.ops.meeting import socket_path
from streamrouter.ops.metrics import Metrics
from streamrouter.ops.tracing import open_tracing
from streamrouter.process.banner import banner
from streamrouter.process.console import console_page
from streamrouter.process.elsewhere import Elsewhere
from streamrouter.process.first import first_key
from streamrouter.process.housekeeping import Housekeeping
from streamrouter.process.lag import LoopLag
from streamrouter.process.leaving import Leaving
from streamrouter.process.machines import machine_server
from streamrouter.process.notify import STORED, Manager
from streamrouter.process.recording import Recording
from streamrouter.process.reload import Reloader
from streamrouter.process.sockets import Sockets, open_sockets
from streamrouter.process.succession import command, opened, rehearse, succeed
from streamrouter.server.server import Server

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_FATAL = 70  # the ledger cannot be trusted any more: never serve unmetered
_LEAVES_WITHIN_S = 30.0  # beside its drain time, a process that somebody waits for: it writes and closes its books


def run(loaded: Loaded, again: Callable[[], Loaded]) -> int:
    """Serve until told to stop; the exit code. Raises LedgerError, OSError (address) before anything is served.

    ``again`` reads the same configuration anew (process/reload.py).
    """
    process = _Process(loaded, again)
    exit_code = uvloop.run(process.main())
    if process.passed_on is not None:
        succeed(command(), process.passed_on, os.environ)
    return exit_code


class _Process:
    """One run. Attributes are made in the order of ``main``."""

    def __init__(self, loaded: Loaded, again: Callable[[], Loaded]) -> None:
        self._loaded = loaded
        self._again = again
        self._config = loaded.config
        self._clock: Clock = SystemClock()
        self._log = Log.from_config(self._config.log, self._clock, os.environ)
        self._stop = asyncio.Event()
        self._now = asyncio.Event()  # a second signal: no more patience
        self._manager = Manager(os.environ)
        self._rehearsal: asyncio.Task[None] | None = None
        self.passed_on: list[tuple[str, socket.socket]] | None = None  # to the program that takes this one's place

    async def main(self) -> int:
        config = self._config
        logging.getLogger().addHandler(Foreign(self._log, asyncio.get_running_loop()))
        tracing = open_tracing(os.environ) if config.tracing.enabled else None
        self._sockets = sockets = open_sockets(config.server, os.environ)
        watchdog = asyncio.create_task(self._manager.watch())
        is_new = not os.path.exists(config.ledger.path)
        ledger = await self._open(sockets)
        page = await self._page(ledger, sockets)
        metrics = Metrics(config.models, config.upstreams)
        upstreams, source = make_upstreams(config.upstreams), self._loaded.source
        app = App(config, ledger, upstreams, self._clock, self._log, metrics, tracing, source)
        ledger.on_committed = metrics.committed
        metrics.watch(lambda: ledger.queue_length, lambda: self._log.dropped)
        control = self._control(ledger, app)
        server = Server(app.asgi, config.server, sockets.api, sockets.clients)
        machines = machine_server(app.machine_asgi(), config.server, sockets.machines)
        self._reloader = Reloader(self._loaded, self._again, app, server, self._log, metrics)
        self._reloader.around = self._manager.reloading
        await control.start()
        account, secret = await first_key(ledger, config)
        await server.start()
        await machines.start()
        self._signals()
        host, port = sockets.api[0].getsockname()[:2]
        created = secret is not None if is_database(config.ledger.path) else is_new
        self._say(banner(self._loaded, host, port, created=created, account=account, secret=secret, console=page))
        self._started(host, port)
        recording = Recording(ledger, app.watch, lambda: len(app.gateway.in_flight), self._log)
        await self._until_stopped(
            recording.run(),
            _warm(app),
            Housekeeping(ledger, self._log, metrics, lambda: not app.gateway.in_flight).run(),
            self._reloader.run(),
            Elsewhere(ledger, app.stop_key).run(),
            LoopLag(metrics.lagged).run(),
        )
        await self._leave(app, server)
        await control.close()
        await app.close()
        await recording.flush()
        await ledger.close()
        await machines.close_listeners()
        await machines.abort()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        watchdog.cancel()
        self._log.event("info", "stopped")
        return EXIT_OK

    async def _open(self, sockets: Sockets) -> Ledger:
        """The ledger. Raises LedgerError; then nobody will serve on ``sockets``.

        Who was given sockets may be the next process of a manager that does not wait for the one before to end.
        """
        config = self._config
        patience_s = config.server.drain_timeout_s + _LEAVES_WITHIN_S if sockets.given else 0.0
        open_ledger = partial(
            Ledger.open,
            config.ledger.path,
            config=config.ledger,
            clock=self._clock,
            on_fatal=self._fatal,
            max_waiting=config.server.max_waiting_requests,
        )
        try:
            return await opened(open_ledger, config.ledger.path, patience_s, self._log, self._manager.tell)
        except BaseException:
            sockets.close()
            raise

    def _started(self, host: str, port: int) -> None:
        """Say so to the log and the service manager."""
        self._log.event(
            "info",
            "started",
            version=__version__,
            pid=os.getpid(),
            address=host,
            port=port,
            config=self._loaded.source,
            sockets=self._sockets.origin,
        )
        self._manager.ready(f"serving on {host} port {port}")

    def _control(self, ledger: Ledger, app: App) -> ControlServer:
        return ControlServer(
            socket_path(self._config.ledger.path, ledger.boot),
            ledger,
            lambda: self._reloader.config,
            app.stop_key,
            log=self._log,
            streams=app.flights,
            pending=lambda: self._reloader.pending(),
        )

    async def _until_stopped(self, *beside: Coroutine[Any, Any, None]) -> None:
        """Until a signal to stop; ``beside`` is what runs beside the requests. One that dies is a fault of ours."""
        tasks = [asyncio.create_task(work) for work in beside]
        for task in tasks:
            task.add_done_callback(self._over)
        await self._stop.wait()
        for task in tasks:
            task.cancel()

    def _over(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.event("error", "internal_error", kind=type(error).__name__, at=where(error))

    async def _page(self, ledger: Ledger, sockets: Sockets) -> str | None:
        """The console's first page. ConfigError where this address is too open for it; nothing is left open then."""
        try:
            return await console_page(self._loaded, ledger, sockets.api[0].getsockname()[0])
        except ConfigError:
            sockets.close()
            await ledger.close()
            raise

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGUSR2, self._succession)

    def _hang_up(self) -> None:
        try:
            self._log.reopen()
        except OSError as error:
            self._log.event("error", "log_not_reopened", detail=str(error))  # the old file goes on
        self._reloader.ask()

    def _signalled(self) -> None:
        if self.passed_on is not None:  # whoever says stop does not mean the next program
            for _, sock in self.passed_on:
                sock.close()
            self.passed_on = None
            return
        (self._now if self._stop.is_set() else self._stop).set()

    def _succession(self) -> None:
        if self._rehearsal is None and not self._stop.is_set():
            self._rehearsal = asyncio.create_task(self._prepare_succession())

    async def _prepare_succession(self) -> None:
        """Stop, and let the program that is installed now go on, if it would start."""
        faults = await rehearse(command())
        try:
            wanted = (await asyncio.to_thread(self._again)).config.server
            passed_on = self._sockets.listening(self._config.server, wanted)
        except (ConfigError, OSError) as error:
            faults = faults or str(error).splitlines()
        self._rehearsal = None
        for fault in faults:
            self._log.event("error", "restart_refused", fault=fault)
        if faults or self._stop.is_set():
            return
        self._log.event("info", "restarting")
        self.passed_on = passed_on
        self._stop.set()

    async def _leave(self, app: App, server: Server) -> None:
        """Stop serving, in the way of what comes after."""
        config = self._reloader.config.server
        leaving = Leaving(app, server, self._log, self._manager, self._now)
        if self.passed_on is not None:
            await leaving.for_another(config, self._pass_on, self._manager.succeeded)
        elif self._sockets.given:
            keeper = self._manager.store if self._manager.present else None
            await leaving.for_another(config, keeper, self._manager.stopping)
            await asyncio.to_thread(self._manager.barrier)
        else:
            await leaving.for_good(config)

    def _pass_on(self, client: socket.socket) -> bool:
        if self.passed_on is None:
            return False
        self.passed_on.append((STORED, client.dup()))
        return True

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it has gone, with the terminal that the program began on
            sys.stdout.write(text)
            sys.stdout.flush()

    def _fatal(self, message: str) -> None:
        """The ledger cannot go on: say so and stop at once, without unwinding anything that might serve or write."""
        self._log.event("error", "ledger_fatal", detail=message)
        os._exit(EXIT_FATAL)


async def _warm(app: App) -> None:
    """What the first request would wait for; then what a start has made is left alone by the garbage collector.

    It lives as long as the process. To look through all of it takes 40 ms, in which no stream moves.
    """
    await app.warm()
    gc.freeze()
