"""kill -9 of a process that reserves, delivers under its lease and settles; then the books must be right."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.postgres import boots, store
from tests.ledger.books import HeldClock, command, finished, opened, with_key
from tests.support.postgres import Cluster
from tests.support.profile import scaled

STREAMS = 8
LARGEST_EVENT = 40

CHILD = f"""
import asyncio, random, sys
from streamrouter.config.schema import LedgerConfig
from tests.ledger.books import HeldClock, command, finished, opened

async def stream(ledger, key_id, say):
    while True:
        name = f"req_{{random.getrandbits(80):x}}"
        wanted = command(id=name, key_id=key_id, limit=2000, requested=2000, prepaid=True)
        hold = await ledger.reserve(wanted)
        grown = asyncio.Event()
        hold.on_lease = grown.set
        delivered, length = 0, random.randrange(2000)
        while delivered < length:
            event = min(random.randrange(1, {LARGEST_EVENT}), length - delivered)
            while delivered + event > hold.lease:
                grown.clear()
                ledger.extend(hold, hold.lease + 256, urgent=True)
                await grown.wait()
            delivered += event
            say("d", hold.id, delivered)
            if hold.lease - delivered < 128 and hold.asked <= hold.lease:
                ledger.extend(hold, hold.lease + 256, urgent=False)
            await asyncio.sleep(0)
        await ledger.settle_durably(hold, finished(100, delivered))
        say("s", hold.id, delivered)

async def main(place, key_id, told, durability):
    out = open(told, "a", buffering=1)
    def say(*words):
        out.write(" ".join(map(str, words)) + "\\n")
    config = LedgerConfig(durability=durability)
    async with opened(place, HeldClock(), config=config) as ledger:
        print("running", flush=True)
        await asyncio.gather(*(stream(ledger, key_id, say) for _ in range({STREAMS})))

asyncio.run(main(*sys.argv[1:]))
"""


def run_and_kill(
    place: str,
    key_id: str,
    told: Path,
    after_s: float,
    durability: str = "normal",
    also: Callable[[], None] | None = None,
) -> None:
    command = [sys.executable, "-c", CHILD, place, key_id, str(told), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        if also is not None:
            also()
        assert child.wait() == -signal.SIGKILL


def heard(told: Path) -> tuple[dict[str, int], dict[str, int]]:
    """What the killed process had delivered, and what it had heard to be settled."""
    delivered: dict[str, int] = {}
    settled: dict[str, int] = {}
    for line in told.read_text().splitlines():
        kind, hold_id, tokens = line.split()
        (delivered if kind == "d" else settled)[hold_id] = int(tokens)
    return delivered, settled


async def accounted(ledger: Ledger, told: Path) -> None:
    """Every token that had left is charged, what was heard to be settled is as it was, and nothing is open."""
    assert await ledger.check() == []
    rows = await ledger.ask(lambda raw: raw.execute("SELECT id, state, s_input, s_output FROM hold").fetchall())
    charged = {hold_id: (state, s_input, s_output) for hold_id, state, s_input, s_output in rows}
    delivered, settled = heard(told)
    assert set(delivered) <= set(charged), "a byte left without a committed hold"
    for hold_id, tokens in settled.items():
        assert charged[hold_id] == ("settled", 100, tokens)
    for hold_id, tokens in delivered.items():
        assert tokens <= charged[hold_id][2] <= tokens + 1.5 * 256 + LARGEST_EVENT
    usage = await ledger.usage("team-a")
    assert (usage.in_flight, usage.reserved_usd) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_delivered_is_unaccounted_after_a_kill(tmp_path: Path, seed: int) -> None:
    path, told = str(tmp_path / "l.db"), tmp_path / "told"
    async with opened(path, HeldClock()) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10**15)])
    await asyncio.to_thread(run_and_kill, path, key_id, told, random.Random(seed).uniform(0.01, 0.25))
    async with opened(path, HeldClock()) as ledger:
        assert ledger.recovered <= STREAMS
        await accounted(ledger, told)
        usage = await ledger.usage("team-a")
    async with opened(path, HeldClock()) as ledger:
        assert ledger.recovered == 0
        assert await ledger.usage("team-a") == usage


# Nobody can tell whether such a process runs: it is as if it were on another machine.
ELSEWHERE = """
    CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.home := ''; RETURN NEW; END$$;
    CREATE TRIGGER elsewhere BEFORE INSERT ON process FOR EACH ROW EXECUTE FUNCTION elsewhere();
"""


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_others_recover_what_a_killed_process_left(
    tmp_path: Path, postgres: Cluster, ledger_url: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes on one database: one is killed, the other goes on with its own stream and closes the dead one's."""
    monkeypatch.setattr(store, "POLL_S", 0.05)
    monkeypatch.setattr(boots, "DEAD_S", 0.5 if elsewhere else 3600)
    told, clock = tmp_path / "told", HeldClock()
    if elsewhere:
        with postgres.connect(ledger_url) as session:
            session.execute(ELSEWHERE)
    async with opened(ledger_url, clock) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10**15)])
        own = await ledger.reserve(command(key_id=key_id, prepaid=True))
        await asyncio.to_thread(run_and_kill, ledger_url, key_id, told, random.Random(elsewhere).uniform(0.1, 0.4))
        clock.pass_s(1)  # by the database's clock, its pulse has stopped
        for _ in range(200):
            states = await ledger.ask(
                lambda raw: raw.execute("SELECT state, count(*) FROM hold GROUP BY state").fetchall()
            )
            if "recovered" in dict(states) and dict(states)["open"] == 1:
                break
            await asyncio.sleep(0.05)
        ledger.settle(own, finished(100, 200))
        await accounted(ledger, told)
        ends = "SELECT state, s_output FROM hold WHERE id = ?"
        assert await ledger.ask(lambda raw: raw.execute(ends, (own.id,)).fetchone()) == ("settled", 200)


async def test_process_and_server_crash_at_once(tmp_path: Path, postgres: Cluster, ledger_url: str) -> None:
    told = tmp_path / "told"
    async with opened(ledger_url, HeldClock()) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10**15)])
    for seed in range(scaled(1, 20)):
        after_s = random.Random(seed).uniform(0.05, 0.3)
        try:
            run_and_kill(ledger_url, key_id, told, after_s, "full", lambda: postgres.stop("immediate"))
        finally:
            postgres.start()
        async with opened(ledger_url, HeldClock()) as ledger:
            await accounted(ledger, told)
