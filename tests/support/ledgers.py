"""A ledger in a process of its own, for races: told what to do by lines of JSON, one answer each.

``python -m tests.support.ledgers URL`` is the process; ``Remote`` is its other end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

from streamrouter.errors import Refusal
from streamrouter.ledger import people
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Hold
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, finished, opened

_numbers = count(1)


class Remote:
    """The other end: ``await remote.ask("reserve", key_id=…, many=100)``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.boot = 0

    async def ask(self, what: str, **given: Any) -> Any:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, **given}).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        """The next line."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the ledger's process has ended; its standard error says why"
        return json.loads(line)

    async def kill(self) -> None:
        """As ``kill -9`` does."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def remotes(url: str, many: int) -> AsyncIterator[list[Remote]]:
    """That many processes with a ledger each; those that are left are killed at the end."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(many):
            remote = Remote(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.support.ledgers", url),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
            )
            stack.push_async_callback(remote.kill)
            found.append(remote)
        for remote in found:
            remote.boot = await remote.answer()
        yield found


class Here:
    """This end: the ledger and the holds that are open."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.holds: list[Hold] = []

    async def reserve(self, key_ids: list[str], many: int, **wanted: Any) -> dict[str, int]:
        """``many`` at once, spread over the keys; how many were admitted, and how many refused by code."""
        told: Counter[str] = Counter()
        work = [
            self.ledger.reserve(
                command(id=f"req_{self.ledger.boot}_{next(_numbers)}", key_id=key_ids[n % len(key_ids)], **wanted)
            )
            for n in range(many)
        ]
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, Hold):
                self.holds.append(outcome)
                told["clamped" if outcome.clamped else "admitted"] += 1
            elif isinstance(outcome, Refusal):
                told[outcome.code] += 1
            else:
                told[repr(outcome)] += 1
        return dict(told)

    async def close(self, input_tokens: int, output_tokens: int, free: int = 0) -> int:
        """Settle what is open, ``free`` of it as never sent; how many."""
        holds, self.holds = self.holds, []
        for number, hold in enumerate(holds):
            ending = released("tested") if number < free else finished(input_tokens, output_tokens)
            self.ledger.settle(hold, ending)
        await self.ledger.ask(lambda raw: None)  # the queue is through
        return len(holds)

    async def churn(self, key_ids: list[str], rounds: int, many: int) -> dict[str, int]:
        """Reserve and settle again and again."""
        told: Counter[str] = Counter()
        for _ in range(rounds):
            told.update(await self.reserve(key_ids, many, prepaid=True))
            await self.close(100, 7, free=many // 4)
        return dict(told)

    async def credit(self, user: str, ref: str | None, many: int, amount: int) -> int:
        """The same top-up many times at once; how often it was booked."""
        done = await asyncio.gather(*(self.ledger.credit(user, [("payment", amount)], ref) for _ in range(many)))
        return sum(not each.repeated for each in done)

    async def key(self, user: str, ref: str, many: int) -> list[str]:
        """The same key many times at once: the ids of those that came with a secret."""
        made = [self.ledger.create_key(user, "main", "sk-", None, None, ref) for _ in range(many)]
        return [key.id for key, secret in await asyncio.gather(*made) if secret]

    async def join(self, link: str, many: int) -> list[str]:
        """Use a one-time link many times at once: what came of it."""
        uses = [
            self.ledger.act(people.join, bytes.fromhex(link), "scrypt$", bytes([self.ledger.boot, n]) * 16, "")
            for n in range(many)
        ]
        outcomes = await asyncio.gather(*uses, return_exceptions=True)
        return [each.code if isinstance(each, Refusal) else type(each).__name__ for each in outcomes]

    async def change(self, names: list[str]) -> list[str]:
        """Disable people, all at once: what came of it."""
        acts = [self.ledger.act(people.change, name, {"status": "disabled"}) for name in names]
        outcomes = await asyncio.gather(*acts, return_exceptions=True)
        return [each.code if isinstance(each, Refusal) else type(each).__name__ for each in outcomes]

    async def revoke(self, key_id: str) -> str:
        """Revoke a key: its status."""
        return (await self.ledger.revoke_key(key_id)).status


async def main(url: str) -> None:
    """Do what is asked until the input ends."""
    async with opened(url, HeldClock()) as ledger:
        here = Here(ledger)
        print(ledger.boot, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            given = json.loads(line)
            print(json.dumps(await getattr(here, given.pop("what"))(**given)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
