"""kill -9 of a process that reserves, delivers under its lease and settles; then the books must be right."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ledger.books import HeldClock, opened, with_key

STREAMS = 8
LARGEST_EVENT = 40

CHILD = f"""
import asyncio, random, sys
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

async def main(path, key_id):
    out = open(path + ".told", "a", buffering=1)
    def say(*words):
        out.write(" ".join(map(str, words)) + "\\n")
    async with opened(path, HeldClock()) as ledger:
        print("running", flush=True)
        await asyncio.gather(*(stream(ledger, key_id, say) for _ in range({STREAMS})))

asyncio.run(main(*sys.argv[1:]))
"""


def run_and_kill(path: str, key_id: str, after_s: float) -> None:
    command = [sys.executable, "-c", CHILD, path, key_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


def told(path: str) -> tuple[dict[str, int], dict[str, int]]:
    """What the killed process had delivered, and what it had heard to be settled."""
    delivered: dict[str, int] = {}
    settled: dict[str, int] = {}
    for line in Path(path + ".told").read_text().splitlines():
        kind, hold_id, tokens = line.split()
        (delivered if kind == "d" else settled)[hold_id] = int(tokens)
    return delivered, settled


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_delivered_is_unaccounted_after_a_kill(tmp_path: Path, seed: int) -> None:
    path = str(tmp_path / "l.db")
    async with opened(path, HeldClock()) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 10**15)])
    await asyncio.to_thread(run_and_kill, path, key_id, random.Random(seed).uniform(0.01, 0.25))
    delivered, settled = told(path)
    async with opened(path, HeldClock()) as ledger:
        assert ledger.recovered <= STREAMS
        assert await ledger.check() == []
        rows = await ledger.ask(lambda raw: raw.execute("SELECT id, state, s_input, s_output FROM hold").fetchall())
        usage = await ledger.usage("team-a")
    charged = {hold_id: (state, s_input, s_output) for hold_id, state, s_input, s_output in rows}
    assert set(delivered) <= set(charged), "a byte left without a committed hold"
    for hold_id, tokens in settled.items():
        assert charged[hold_id] == ("settled", 100, tokens)
    for hold_id, tokens in delivered.items():
        assert tokens <= charged[hold_id][2] <= tokens + 1.5 * 256 + LARGEST_EVENT
    assert (usage.in_flight, usage.reserved_usd) == (0, 0)
    async with opened(path, HeldClock()) as ledger:
        assert ledger.recovered == 0
        assert await ledger.usage("team-a") == usage
