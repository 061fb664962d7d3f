"""The same acts on both engines: the same outcomes, word for word, and the same rows in every table."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger import people, retention, rollups, sessions
from streamrouter.ledger.ledger import Ledger, Replayed
from streamrouter.ledger.records import Credit, Hold, Idempotency, Key, Settled
from streamrouter.ops.series import Slot
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, contents, finished, opened
from tests.support.profile import scaled

KEEP_ONE = LedgerConfig(durability="normal", busy_timeout_s=5.0, retain_holds_days=1)
CAPS = ("daily_input", "daily_output", "requests_per_minute", "input_per_request", "output_per_request")
# Made anew by each ledger: ids, what keys look like, hashes of random secrets, numbers of rows.
_RANDOM = re.compile(r"(acct|key|ent|per|ses|tok)_[0-9A-Za-z]+|sk-…[\w-]{4}")
_OWN = ("hash", "display", "number", "password")


class Side:
    """One ledger, and what its acts came to. Holds and keys are called by their number, so both sides mean the same."""

    def __init__(self, ledger: Ledger, clock: HeldClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.keys: list[str] = []
        self.holds: list[Hold] = []
        self.links: list[str] = []
        self._names: dict[str, str] = {}

    def same(self, value: Any) -> str:
        """The text of a value, in which this ledger's own random names are numbered as they appear."""
        return _RANDOM.sub(lambda match: self._named(match.group()), repr(value))

    def _named(self, name: str) -> str:
        return self._names.setdefault(name, f"<{len(self._names)}>")

    async def told(self, work: Awaitable[Any]) -> str:
        try:
            outcome = await work
        except Refusal as refusal:
            return self.same((refusal.code, str(refusal), refusal.param, refusal.retry_after_s))
        except Replayed as replayed:
            return self.same(("replayed", replayed.stored))
        except (LookupError, ValueError) as error:
            return self.same((type(error).__name__, str(error)))
        return self.same(self._plain(outcome))

    def _plain(self, outcome: Any) -> Any:
        if isinstance(outcome, Hold):
            self.holds.append(outcome)
            return {**asdict(outcome), "on_lease": None}
        if isinstance(outcome, tuple) and isinstance(outcome[0], Key):
            self.keys.append(outcome[0].id)
            return {**asdict(outcome[0]), "hash": None}
        if isinstance(outcome, tuple) and isinstance(outcome[0], people.Person):
            self.links.append(outcome[1])
            return outcome[0]
        if isinstance(outcome, Key):
            return {**asdict(outcome), "hash": None}
        if isinstance(outcome, Credit):
            return (outcome.account, outcome.entries, outcome.repeated)
        return outcome if not isinstance(outcome, Settled) else asdict(outcome)

    async def rows(self) -> dict[str, list[str]]:
        found = await self.ledger.ask(contents)
        return {
            table: sorted(
                _RANDOM.sub(lambda match: self._names.get(match.group(), "<?>"), repr(sorted(row.items())))
                for row in ({name: value for name, value in row.items() if name not in _OWN} for row in rows)
            )
            for table, rows in found.items()
        }


Act = Callable[[Side], Awaitable[Any]]


class Acts:
    """A stream of random acts, each of which can be carried out on any side."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0

    def next(self) -> list[Act]:
        """Some acts that come at once."""
        pick = self._random.random()
        if pick < 0.5:
            return [self.reserve() for _ in range(self._random.randrange(1, 9))]
        if pick < 0.8:
            return [self.close() for _ in range(self._random.randrange(1, 9))]
        if pick < 0.87:
            return [self.administer()]
        return [self.person(), self.reserve()] if pick < 0.93 else [self.time(), self.keep()]

    def _id(self) -> str:
        self._number += 1
        return f"req_{self._number:06d}"

    def reserve(self) -> Act:
        draw = self._random
        once = draw.choice([None, None, None, Idempotency(draw.choice("abc"), draw.choice([b"1", b"2"]))])
        number, limit = draw.randrange(8), draw.randrange(1, 700)
        wanted: dict[str, Any] = {
            "id": self._id(),
            "input_tokens": draw.randrange(1, 300),
            "limit": limit,
            "requested": draw.choice([None, limit]),
            "n": draw.choice([1, 1, 2]),
            "prepaid": draw.random() < 0.5,
            "stream": draw.random() < 0.7,
            "idempotency": once,
            "model": draw.choice(["large", "small"]),
        }

        async def act(side: Side) -> Any:
            key_id = side.keys[number % len(side.keys)] if side.keys and number < 7 else "key_unknown"
            return await side.ledger.reserve(command(key_id=key_id, **wanted))

        return act

    def close(self) -> Act:
        draw = self._random
        number, used_in, used_out = draw.randrange(1 << 20), draw.randrange(400), draw.randrange(900)
        kind, lease = draw.choice(["settle", "durably", "extend", "release"]), draw.randrange(900)

        async def act(side: Side) -> Any:
            if not side.holds:
                return None
            hold = side.holds[number % len(side.holds)]
            ending = finished(used_in, used_out, cached_tokens=used_in // 2, upstream="u", ttft_ms=5)
            if kind == "settle":
                return side.ledger.settle(hold, ending)
            if kind == "extend":
                return side.ledger.extend(hold, lease, urgent=False)
            if kind == "release":
                return side.ledger.settle(hold, released("tested"))
            return await side.ledger.settle_durably(hold, ending, b"{}")

        return act

    def administer(self) -> Act:
        draw = self._random
        user, number = draw.choice(["team-a", "team-b", "nobody"]), draw.randrange(8)
        cap, value = draw.choice(CAPS), draw.choice([None, 60, 5000, 50_000])
        kind, amount = draw.choice(["credit", "credit", "cap", "key", "rotate", "revoke", "status"]), draw.randrange(9)
        ref = draw.choice([None, "r1", "r2"])

        async def act(side: Side) -> Any:
            ledger, key_id = side.ledger, side.keys[number % len(side.keys)] if side.keys else "none"
            if kind == "credit":
                return await ledger.credit(user, [("payment", amount * 1_000_000), ("fee", -1000)], ref)
            if kind == "cap":
                return await ledger.set_account(user, {cap: value})
            if kind == "key":
                return await ledger.create_key(user, "main", "sk-", None, number or None, ref)
            if kind == "rotate":
                return await ledger.rotate_key(key_id, "sk-", 3600 * amount)
            if kind == "revoke" and amount == 0:
                return await ledger.revoke_key(key_id)
            return await ledger.set_account_status(user, "disabled" if amount == 1 else "active")

        return act

    def person(self) -> Act:
        draw = self._random
        name, kind, number = draw.choice(["anna", "Anna", "ben", "cleo"]), draw.randrange(4), self._id()
        status = draw.choice(["active", "disabled"])

        async def act(side: Side) -> Any:
            ledger = side.ledger
            if kind == 0:
                return await ledger.act(people.invite, name, "admin", "team-a", None, None)
            if kind == 1 and side.links:
                digest = secret_hash(side.links[-1])
                return await ledger.act(people.join, digest, "scrypt$", secret_hash(number), "browser")
            if kind == 2:
                return await ledger.act(people.change, name, {"status": status})
            return await ledger.ask(lambda raw: (people.everybody(raw), sessions.tokens(raw), people.admins(raw)))

        return act

    def time(self) -> Act:
        seconds = self._random.choice([1, 60, 3600, 86_400])

        async def act(side: Side) -> Any:
            side.clock.pass_s(seconds)

        return act

    def keep(self) -> Act:
        kind = self._random.randrange(3)

        async def act(side: Side) -> Any:
            if kind == 0:
                return await side.ledger.prune()
            if kind == 1:
                return await side.ledger.act(retention.expire)
            minute = side.clock.wall_ns // 60_000_000_000
            await side.ledger.act(rollups.write, {minute: Slot(requests=1, active=2, ttft={3: 1})})
            return await side.ledger.ask(lambda raw: rollups.read(raw, 0, 1 << 40))

        return act


@pytest.mark.parametrize("seed", range(scaled(4, 200)))
async def test_both_engines_do_the_same(tmp_path: Path, ledger_url: str, seed: int) -> None:
    clocks = HeldClock(), HeldClock()
    acts = Acts(seed)
    async with (
        opened(str(tmp_path / "l.db"), clocks[0], config=KEEP_ONE) as file,
        opened(ledger_url, clocks[1], config=KEEP_ONE) as database,
    ):
        sides = Side(file, clocks[0]), Side(database, clocks[1])
        for side in sides:
            for user in ("team-a", "team-b"):
                await side.ledger.create_account(user, {"daily_output": 20_000})
                await side.ledger.credit(user, [("payment", 3_000_000)])
                await side.told(side.ledger.create_key(user, "main", "sk-", None, 6))
        for _ in range(60):
            at_once = acts.next()
            outcomes = [list(await asyncio.gather(*(side.told(act(side)) for act in at_once))) for side in sides]
            assert outcomes[0] == outcomes[1]
        for whole, since in ((True, None), (False, None), (False, 20_000)):
            assert [await side.ledger.check(whole=whole, since=since) for side in sides] == [[], []]
        rows = [await side.rows() for side in sides]
        assert len(rows[0]["hold"]) > 5
        for table in rows[0]:
            assert rows[0][table] == rows[1][table], table
