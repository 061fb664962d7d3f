"""Reloading inside the process: what is taken over, refused, watched, closed. The journey is tests/journeys."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamrouter.app import App
from streamrouter.config.load import Loaded, load
from streamrouter.errors import ConfigError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.metrics import Metrics
from streamrouter.process.reload import Reloader
from streamrouter.server.server import Server
from streamrouter.upstream.dispatch import Upstream
from tests.ledger.books import HeldClock, opened, until

TEXT = """
[upstreams.up]
base_url = "demo:"
[upstreams.other]
base_url = "demo:"
idle_s = 10
[models.test]
"""


class House:
    """An app on a configuration file, and who reloads it."""

    def __init__(self, folder: Path, ledger: Ledger, log: Log) -> None:
        self.path = folder / "streamrouter.toml"
        self.path.write_text(TEXT)
        self.reads = 0
        self.metrics = Metrics()
        loaded = self.read()
        upstreams = {name: Upstream(name, config, _Quiet()) for name, config in loaded.config.upstreams.items()}
        self.app = App(loaded.config, ledger, upstreams, HeldClock(), log, self.metrics)
        sockets: list[socket.socket] = []
        self.server = Server(self.app.asgi, loaded.config.server, sockets)
        self.tail = log.subscribe()
        self.reloader = Reloader(loaded, self.read, self.app, self.server, log, self.metrics)

    def read(self) -> Loaded:
        self.reads += 1
        return load(str(self.path), {}, {})

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.tail.take() if line["event"] == event]

    def reloads(self, outcome: str) -> str | None:
        page = self.metrics.render().decode()
        head = f'streamrouter_config_reloads_total{{outcome="{outcome}"}} '
        return next((line.removeprefix(head) for line in page.splitlines() if line.startswith(head)), None)


class _Quiet:
    """A transport that only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def send(self, body: bytes, headers: Any, *, stream: bool) -> Any:
        raise AssertionError("nobody asks")

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    fd = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    try:
        async with opened(str(folder / "l.db"), HeldClock()) as ledger:
            made = House(folder, ledger, Log(HeldClock(), fd=fd))
            yield made
            await made.app.close()
    finally:
        os.close(fd)


async def test_a_change_is_taken_over_and_named(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        made.path.write_text(TEXT + 'price = { input = "1" }\n[log]\nlevel = "error"\n[ledger]\nlease_tokens = 9\n')
        found = await made.reloader.once()
        assert found is not None
        assert (found.taken, found.restart) == (["log.level", "models.test.price.input"], ["ledger.lease_tokens"])
        assert made.app.gateway.catalog.models["test"].price.input == 1_000_000
        assert (made.reloader.config.log.level, made.reloader.config.ledger.lease_tokens) == ("error", 256)
        lines = made.tail.take()
        [told] = [line for line in lines if line["event"] == "reloaded"]
        assert (told["source"], told["changed"]) == (str(made.path), "log.level, models.test.price.input")
        assert [line["keys"] for line in lines if line["event"] == "restart_needed"] == ["ledger.lease_tokens"]
        assert (tmp_path / "log").read_text().count('"level":"info"') == 0  # the new level counts already
        assert made.reloads("taken") == "1.0"


async def test_a_bad_file_changes_nothing_and_every_fault_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        gateway, router = made.app.gateway, made.app.router
        made.path.write_text(TEXT + "strem = true\n[server]\nprot = 1\n")
        assert await made.reloader.once() is None
        assert (made.app.gateway, made.app.router) == (gateway, router)
        told = made.lines("reload_refused")
        assert [line["fault"].split(": ", 1)[0].rpartition("/")[2] for line in told] == [
            "streamrouter.toml:8",
            "streamrouter.toml:10",
        ]
        assert all("unknown key" in line["fault"] and line["level"] == "error" for line in told)
        assert (made.reloads("refused"), made.reloads("taken")) == ("1.0", None)


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        made.path.unlink()
        assert await made.reloader.once() is None
        assert "cannot be read" in made.lines("reload_refused")[0]["fault"]


async def test_many_faults_are_cut_short(tmp_path: Path) -> None:
    async with house(tmp_path) as made:

        def faulty() -> Loaded:
            raise ConfigError("\n".join(f"f:{number}: wrong" for number in range(50)))

        reloader = Reloader(made.read(), faulty, made.app, made.server, _log_of(made), made.metrics)
        await reloader.once()
        told = [line["fault"] for line in made.lines("reload_refused")]
        assert (len(told), told[-1]) == (21, "and 30 more")


def _log_of(made: House) -> Log:
    return made.reloader._log


async def test_upstreams_that_did_not_change_are_kept_and_others_close_when_nobody_uses_them(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        kept, other = made.app.dispatch.upstreams["up"], made.app.dispatch.upstreams["other"]
        before = made.app.gateway
        before.serving += 1  # a request that came in before
        made.path.write_text(TEXT.replace("idle_s = 10", "idle_s = 11"))
        await made.reloader.once()
        assert made.app.dispatch.upstreams["up"] is kept
        assert made.app.dispatch.upstreams["other"] is not other
        assert before.dispatch.upstreams["other"] is other
        await made.app.tidy()
        assert not _closed(other)
        before.serving -= 1
        await made.app.tidy()
        assert _closed(other)
        assert not _closed(kept)
        await made.app.close()
        assert _closed(kept)


def _closed(upstream: Upstream) -> bool:
    transport = upstream.transport
    assert isinstance(transport, _Quiet)
    return transport.closed


@asynccontextmanager
async def looking(made: House, looks: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    running = asyncio.create_task(made.reloader.run(0.001))
    try:
        yield
    finally:
        running.cancel()


async def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    async with house(tmp_path) as made, looking(made):
        made.path.write_text(TEXT + "[models.second]\n")
        await until(lambda: "second" in made.app.gateway.catalog.models)
        made.path.write_text(TEXT + "[models.\n")
        await until(lambda: made.reloads("refused") is not None)
        made.path.write_text(TEXT + "[models.third]\n")
        await until(lambda: "third" in made.app.gateway.catalog.models)
        assert made.reads == 4  # the first, and one for each


async def test_watching_can_be_switched_off_and_a_signal_counts_all_the_same(tmp_path: Path) -> None:
    async with house(tmp_path) as made, looking(made):
        made.path.write_text(TEXT + "[server]\nwatch_config = false\n")
        await until(lambda: not made.reloader.config.server.watch_config)
        reads = made.reads
        made.path.write_text(TEXT + "[server]\nwatch_config = false\n[models.second]\n")
        await asyncio.sleep(0.02)
        assert made.reads == reads
        made.reloader.ask()
        await until(lambda: "second" in made.app.gateway.catalog.models)


async def test_a_price_list_is_watched_too(tmp_path: Path) -> None:
    async with house(tmp_path) as made, looking(made):
        prices = tmp_path / "prices.toml"
        prices.write_text('[test]\ninput = "1"\noutput = "1"\n')
        made.path.write_text('prices = "prices.toml"\n' + TEXT)
        await until(lambda: made.app.gateway.catalog.models["test"].price.input == 1_000_000)
        reads = made.reads
        prices.write_text('[test]\ninput = "2.5"\noutput = "1"\n')
        await until(lambda: made.app.gateway.catalog.models["test"].price.input == 2_500_000)
        assert made.reads == reads + 1
