"""The real ledger, over a real file and a real database, against a naive model of it: dicts, no batches, no SQL."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger, Replayed
from streamrouter.ledger.records import Hold, Idempotency
from streamrouter.policy.endings import released
from tests.ledger.books import PRICE, HeldClock, command, finished, opened
from tests.support.postgres import Cluster
from tests.support.profile import scaled

TOKENS = st.integers(0, 700)


class LedgerAgainstDicts(RuleBasedStateMachine):
    """Each step is one act; the model says what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = self.new_place()
        self.clock = HeldClock()
        self.stack = AsyncExitStack()
        self.ledger: Ledger = self.run(self.stack.enter_async_context(self._opened()))
        self.open: dict[str, dict[str, Any]] = {}
        self.day = 20_000
        self.used: dict[int, list[int]] = {}
        self.credited = self.spent = 0
        self.caps: dict[str, int | None] = {"daily_input": None, "daily_output": None}
        self.concurrency = 5
        self.once: dict[str, dict[str, Any]] = {}  # by Idempotency-Key: what was admitted under it

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def new_place(self) -> str:
        return tempfile.mkdtemp() + "/l.db"

    def drop_place(self) -> None:
        shutil.rmtree(self.place.removesuffix("/l.db"))

    def _opened(self) -> Any:
        return opened(self.place, self.clock)

    @initialize(credit=st.integers(0, 900_000))
    def begin(self, credit: int) -> None:
        self.run(self.ledger.create_account("team-a", {}))
        key, _ = self.run(self.ledger.create_key("team-a", "main", "sk-", None, self.concurrency))
        self.key_id = key.id
        self.top_up(credit)

    def top_up(self, amount: int) -> None:
        if amount:
            self.run(self.ledger.credit("team-a", [("payment", amount)]))
            self.credited += amount

    @rule(amount=st.integers(1, 900_000))
    def credit(self, amount: int) -> None:
        self.top_up(amount)

    @rule(amount=st.integers(1, 900_000))
    def refund(self, amount: int) -> None:
        free = self.credited - self.spent - self.reserved_usd()
        try:
            self.run(self.ledger.credit("team-a", [("refund", -amount)]))
        except ValueError:
            assert amount > free
        else:
            assert amount <= free
            self.credited -= amount

    @rule(name=st.sampled_from(["daily_input", "daily_output"]), value=st.none() | st.integers(0, 4000))
    def set_cap(self, name: str, value: int | None) -> None:
        self.run(self.ledger.set_account("team-a", {name: value}))
        self.caps[name] = value

    @rule(
        input_tokens=st.integers(1, 300),
        limit=st.integers(1, 600),
        n=st.integers(1, 3),
        asked=st.booleans(),
        prepaid=st.booleans(),
        once=st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from([b"1", b"2"])),
    )
    def reserve(
        self,
        input_tokens: int,
        limit: int,
        n: int,
        asked: bool,
        prepaid: bool,
        once: tuple[str, bytes] | None = None,
    ) -> None:
        wanted = command(
            key_id=self.key_id,
            input_tokens=input_tokens,
            limit=limit,
            n=n,
            requested=limit if asked else None,
            prepaid=prepaid,
            idempotency=None if once is None else Idempotency(*once),
        )
        repeated = None if once is None else self.repeated(*once)
        expected = repeated or self.expected(input_tokens, limit, n, min(limit, 16) if asked else 16, prepaid)
        try:
            hold = self.run(self.ledger.reserve(wanted))
        except Refusal as refusal:
            assert refusal.code == expected
            return
        except Replayed as replayed:
            assert once is not None and expected == "replayed"
            assert replayed.stored.hold_id == self.once[once[0]]["id"]
            return
        if once is not None:
            self.once[once[0]] = {"id": hold.id, "print": once[1], "at": self.clock.wall_ns, "reply": False}
        assert (hold.limit, hold.clamped) == (expected, hold.limit < limit)
        r_usd = PRICE.most(input_tokens, n * hold.limit) if prepaid else 0
        assert (hold.r_input, hold.r_output, hold.r_usd) == (input_tokens, n * hold.limit, r_usd)
        self.open[hold.id] = {"hold": hold, "day": self.day, "lease": hold.lease}

    def expected(self, input_tokens: int, limit: int, n: int, least: int, prepaid: bool) -> int | str:
        if len(self.open) >= self.concurrency:
            return "concurrent_requests_exceeded"
        used_in, used_out = self.taken()
        if (cap := self.caps["daily_input"]) is not None and used_in + input_tokens > cap:
            return "daily_input_tokens_exceeded"
        fits = limit
        if (cap := self.caps["daily_output"]) is not None:
            while fits > 0 and used_out + n * fits > cap:
                fits -= 1
            if fits < limit and fits < least:
                return "daily_output_tokens_exceeded"
        if prepaid:
            free, before = self.credited - self.spent - self.reserved_usd(), fits
            while fits >= 0 and PRICE.most(input_tokens, n * fits) > free:
                fits -= 1
            if fits < before and fits < least:
                return "insufficient_balance"
        return fits

    def repeated(self, name: str, fingerprint: bytes) -> str | None:
        before = self.once.get(name)
        if before is None:
            return None
        runs = before["id"] in self.open
        if not runs and self.clock.wall_ns - before["at"] >= 86_400_000_000_000:
            return None
        if before["print"] != fingerprint:
            return "idempotency_key_reused"
        if runs:
            return "idempotency_in_progress"
        return "replayed" if before["reply"] else "idempotency_completed"

    def taken(self) -> tuple[int, int]:
        posted_in, posted_out = self.used.get(self.day, [0, 0])
        today: list[Hold] = [each["hold"] for each in self.open.values() if each["day"] == self.day]
        return posted_in + sum(hold.r_input for hold in today), posted_out + sum(hold.r_output for hold in today)

    def reserved_usd(self) -> int:
        return sum(each["hold"].r_usd for each in self.open.values())

    def post(self, each: dict[str, Any], input_tokens: int, output_tokens: int, cached: int = 0) -> None:
        day = self.used.setdefault(each["day"], [0, 0])
        day[0] += input_tokens
        day[1] += output_tokens
        if each["hold"].prepaid:
            self.spent += PRICE.cost(input_tokens, output_tokens, cached)

    def pick(self, number: int) -> dict[str, Any]:
        return self.open[sorted(self.open)[number % len(self.open)]]

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 9), lease=TOKENS)
    def extend(self, number: int, lease: int) -> None:
        each = self.pick(number)
        self.ledger.extend(each["hold"], lease, urgent=False)
        each["lease"] = max(each["lease"], min(lease, each["hold"].r_output))

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 9), used_in=TOKENS, used_out=TOKENS, cached=TOKENS, durably=st.booleans())
    def settle(self, number: int, used_in: int, used_out: int, cached: int, durably: bool) -> None:
        each = self.pick(number)
        hold: Hold = each["hold"]
        del self.open[hold.id]
        s_in, s_out = min(used_in, hold.r_input), min(used_out, hold.r_output)
        ending = finished(used_in, used_out, cached_tokens=cached)
        if durably:
            settled = self.run(self.ledger.settle_durably(hold, ending, b"{}"))
            for each_once in self.once.values():
                each_once["reply"] = each_once["reply"] or each_once["id"] == hold.id
            assert (settled.input_tokens, settled.output_tokens) == (s_in, s_out)
        else:
            self.ledger.settle(hold, ending)
            self.ledger.settle(hold, finished(1, 1))
        self.post(each, s_in, s_out, min(cached, s_in))

    @precondition(lambda self: self.open)
    @rule(number=st.integers(0, 9))
    def release(self, number: int) -> None:
        each = self.pick(number)
        del self.open[each["hold"].id]
        self.ledger.settle(each["hold"], released("tested"))
        self.once = {name: before for name, before in self.once.items() if before["id"] != each["hold"].id}

    @rule(hours=st.integers(1, 30), stepped=st.booleans())
    def time_passes(self, hours: int, stepped: bool) -> None:
        if stepped:
            self.clock.wall_ns -= hours * 3_600_000_000_000
            self.run(self.ledger.usage("team-a"))
            self.clock.wall_ns += hours * 3_600_000_000_000
        else:
            self.clock.pass_s(hours * 3600)
        self.day = max(self.day, self.clock.wall_ns // 86_400_000_000_000)

    @rule()
    def restart(self) -> None:
        self.run(self.stack.aclose())
        self.ledger = self.run(self.stack.enter_async_context(self._opened()))
        assert self.ledger.recovered == len(self.open)
        for each in self.open.values():
            self.post(each, each["hold"].r_input, each["lease"])
        self.open.clear()

    @invariant()
    def the_books_agree(self) -> None:
        usage = self.run(self.ledger.usage("team-a"))
        taken_in, taken_out = self.taken()
        assert usage.input["used"] + usage.input["reserved"] == taken_in
        assert usage.output["used"] + usage.output["reserved"] == taken_out
        assert [usage.input["used"], usage.output["used"]] == self.used.get(self.day, [0, 0])
        assert (usage.credited, usage.spent, usage.reserved_usd) == (self.credited, self.spent, self.reserved_usd())
        assert usage.in_flight == len(self.open)
        assert self.run(self.ledger.check()) == []

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        self.drop_place()


LedgerAgainstDicts.TestCase.settings = settings(
    max_examples=200, stateful_step_count=24, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerAgainstDicts = LedgerAgainstDicts.TestCase


class DatabaseAgainstDicts(LedgerAgainstDicts):
    """The same in Postgres, whose clock is held as well."""

    cluster: Cluster
    template: str

    def new_place(self) -> str:
        return self.cluster.database(self.template)

    def drop_place(self) -> None:
        self.cluster.drop(self.place)


@pytest.fixture(scope="module", autouse=True)
def databases(postgres: Cluster, ledger_template: str) -> None:
    DatabaseAgainstDicts.cluster, DatabaseAgainstDicts.template = postgres, ledger_template


DatabaseAgainstDicts.TestCase.settings = settings(LedgerAgainstDicts.TestCase.settings, max_examples=scaled(12, 200))
TestDatabaseAgainstDicts = DatabaseAgainstDicts.TestCase


@pytest.mark.parametrize("machine_class", [LedgerAgainstDicts, DatabaseAgainstDicts])
def test_the_model_itself_admits_something(machine_class: type[LedgerAgainstDicts]) -> None:
    machine = machine_class()
    machine.begin(900_000)
    machine.reserve(100, 500, 1, True, True)
    machine.the_books_agree()
    assert len(machine.open) == 1
    machine.teardown()
