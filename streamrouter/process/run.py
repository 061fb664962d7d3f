"""The life of one process: open the ledger, listen, say how to try it, serve, drain, stop.

The order matters: the listening socket is bound first (a taken port must not open books), the ledger is recovered
before the first request is accepted, tokenizers load after listening, and on the way out nothing is closed before the
streams that use it have ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from streamrouter.app import App, make_upstreams
from streamrouter.clock import Clock, SystemClock
from streamrouter.config.load import Loaded
from streamrouter.control import ControlServer, socket_path
from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.process.banner import banner
from streamrouter.process.housekeeping import Housekeeping
from streamrouter.server.server import Server, listen

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_FATAL = 70  # the ledger cannot be trusted any more: never serve unmetered
FIRST_ACCOUNT = "default"


def run(loaded: Loaded) -> int:
    """Serve until told to stop; the exit code. Raises LedgerError, OSError (address) before anything is served."""
    return uvloop.run(_Process(loaded).main())


class _Process:
    """One run. Attributes are made in the order of ``main``."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._config = loaded.config
        self._clock: Clock = SystemClock()
        self._log = Log.from_config(self._config.log, self._clock, os.environ)
        self._stop = asyncio.Event()
        self._now = asyncio.Event()  # a second signal: no more patience

    async def main(self) -> int:
        config = self._config
        sockets = listen(config.server.host, config.server.port, config.server.stalled_client_s)
        new_file = not os.path.exists(config.ledger.path)
        try:
            ledger = await Ledger.open(
                config.ledger.path,
                config=config.ledger,
                clock=self._clock,
                on_fatal=self._fatal,
                max_waiting=config.server.max_waiting_requests,
            )
        except BaseException:  # nobody will serve on them
            for sock in sockets:
                sock.close()
            raise
        metrics = Metrics(config.models, config.upstreams)
        app = App(config, ledger, make_upstreams(config.upstreams), self._clock, self._log, metrics)
        metrics.watch(lambda: ledger.queue_length, lambda: self._log.dropped)
        control = ControlServer(
            socket_path(config.ledger.path), ledger, lambda: self._config, lambda key: _stop_key(app, key)
        )
        server = Server(app.asgi, config.server, sockets)
        await control.start()
        account, secret = await self._first_key(ledger)
        await server.start()
        self._signals()
        host, port = sockets[0].getsockname()[:2]
        self._say(banner(self._loaded, host, port, created=new_file, account=account, secret=secret))
        warm = asyncio.create_task(self._warm(app))
        housekeeping = asyncio.create_task(Housekeeping(ledger, self._log, metrics).run())
        await self._stop.wait()
        warm.cancel()
        housekeeping.cancel()
        await self._drain(app, server)
        await control.close()
        await app.dispatch.close()
        await ledger.close()
        self._log.event("info", "stopped")
        return EXIT_OK

    async def _first_key(self, ledger: Ledger) -> tuple[str, str | None]:
        """A first account and key on an empty ledger, so that the first request works; no key on every later start."""
        accounts = await ledger.accounts()
        if accounts:
            return accounts[0].name, None
        defaults = self._config.defaults
        caps = {name: getattr(defaults, name) for name in defaults.__struct_fields__}
        await ledger.create_account(FIRST_ACCOUNT, caps)
        surface = self._config.surface[0]
        _, secret = await ledger.create_key(FIRST_ACCOUNT, surface.name, surface.key_prefix, None, surface.concurrency)
        return FIRST_ACCOUNT, secret

    async def _warm(self, app: App) -> None:
        """Load the tokenizers that the models need, so that the first request does not wait for them."""
        for name in dict.fromkeys(model.encoding for model in app.gateway.catalog.models.values()):
            await app.counters.load(name)

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reopen_log)

    def _reopen_log(self) -> None:
        try:
            self._log.reopen()
        except OSError as error:
            self._log.event("error", "log_not_reopened", detail=str(error))  # the old file goes on

    def _signalled(self) -> None:
        (self._now if self._stop.is_set() else self._stop).set()

    async def _drain(self, app: App, server: Server) -> None:
        """Refuse new work at once, let streams finish in their time, tell the rest (F43)."""
        app.draining = True
        self._log.event("info", "draining", streams=len(app.gateway.in_flight))
        await self._patiently(asyncio.sleep(self._config.server.drain_announce_s))
        await server.close_listeners()
        await self._patiently(server.drained(self._config.server.drain_timeout_s))
        left = app.stop_streams(Refusal("server_shutdown", "The server is shutting down. Retry.", retry_after_s=1))
        if left:
            self._log.event("warning", "streams_cut", streams=left)
        await server.drained(2.0 if left else 0.1)
        await server.abort()
        await app.streams.finished(2.0)

    async def _patiently(self, work: object) -> None:
        """Await ``work`` unless a second signal comes first."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        now = asyncio.create_task(self._now.wait())
        await asyncio.wait({task, now}, return_when=asyncio.FIRST_COMPLETED)
        for pending in (task, now):
            pending.cancel()
        await asyncio.gather(task, now, return_exceptions=True)

    def _say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _fatal(self, message: str) -> None:
        """The ledger cannot go on: say so and stop at once, without unwinding anything that might serve or write."""
        self._log.event("error", "ledger_fatal", detail=message)
        os._exit(EXIT_FATAL)


def _stop_key(app: App, key_id: str) -> int:
    revoked = Refusal("invalid_api_key", "The API key of this stream was revoked.")
    return app.stop_streams(revoked, lambda hold: hold.key_id == key_id)
