"""F53: Postgres restarts, or the connection breaks around a COMMIT: new requests are refused meanwhile, what was
delivered is charged, and everything has happened exactly once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.postgres import boots, store
from streamrouter.ledger.records import Hold, Idempotency
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, finished, opened, quiet, until, with_key
from tests.support.postgres import Cluster
from tests.support.wire import Cut, Wire

DURABLE = LedgerConfig(durability="full", busy_timeout_s=1.0)  # so long is the outcome of a COMMIT asked for
USD = 10**9


@pytest.fixture
def wire(postgres: Cluster) -> Iterator[Wire]:
    with Wire(postgres.port) as made:
        yield made


@pytest.fixture(autouse=True)
def running(postgres: Cluster, ledger_url: str) -> Iterator[None]:
    """Whatever a test that failed has left, the next one finds a server."""
    yield
    postgres.start()


def through(wire: Wire, postgres: Cluster, url: str) -> str:
    """The same database, by the wire."""
    return postgres.url(url.rpartition("/")[2], wire.port)


async def holds(ledger: Ledger) -> list[tuple[str, str, int, int]]:
    rows: list[tuple[str, str, int, int]] = await ledger.ask(
        lambda raw: raw.execute("SELECT id, state, s_input, s_output FROM hold ORDER BY id").fetchall()
    )
    return rows


# -- F53: Postgres restarts, crashes, or is cut at COMMIT


@pytest.mark.parametrize("cut", ["before", "during", "after"])
async def test_what_is_cut_at_its_commit_happens_once(wire: Wire, postgres: Cluster, ledger_url: str, cut: Cut) -> None:
    async with opened(through(wire, postgres, ledger_url), config=DURABLE) as ledger:
        key_id = await with_key(ledger)
        wire.cuts = [cut]
        assert (await ledger.credit("team-a", [("payment", USD)], "r1")).repeated is False
        wire.cuts = [cut]
        once = Idempotency("once", b"f")
        hold = await ledger.reserve(command(key_id=key_id, prepaid=True, idempotency=once, id="req_1"))
        assert [state for _, state, _, _ in await holds(ledger)] == ["open"]
        wire.cuts = [cut]
        ledger.extend(hold, 400, urgent=True)
        await until(lambda: hold.lease == 400)
        wire.cuts = [cut]
        settled = await ledger.settle_durably(hold, finished(100, 300), b"{}")
        assert (settled.input_tokens, settled.output_tokens) == (100, 300)
        wire.cuts = [cut]
        key, secret = await ledger.create_key("team-a", "main", "sk-", None, None)
        assert secret and ledger.key_by_hash(key.hash) is not None
        assert wire.done == [cut] * 5
        assert await holds(ledger) == [("req_1", "settled", 100, 300)]
        usage = await ledger.usage("team-a")
        assert (usage.credited, usage.in_flight, usage.output["used"]) == (USD, 0, 300)
        assert len(await ledger.keys()) == 2
        await quiet(ledger)


async def test_a_wire_that_breaks_again_and_again_loses_and_doubles_nothing(
    wire: Wire, postgres: Cluster, ledger_url: str
) -> None:
    draw = random.Random(7)
    async with opened(through(wire, postgres, ledger_url), config=DURABLE) as ledger:
        key_id = await with_key(ledger)
        await ledger.credit("team-a", [("payment", 1000 * USD)])
        charged, going = dict[str, int](), True

        async def requests(number: int) -> None:
            turn = 0
            while going:
                turn += 1
                hold_id = f"req_{number}_{turn}"
                try:
                    hold = await ledger.reserve(command(id=hold_id, key_id=key_id, prepaid=True))
                except Refusal as refusal:
                    assert refusal.code == "ledger_unavailable"
                    await asyncio.sleep(0.01)
                    continue
                charged[hold_id] = draw.randrange(1, 500)
                ledger.settle(hold, finished(100, charged[hold_id]))
                await asyncio.sleep(0.001)

        async def breaks() -> None:
            nonlocal going
            while len(wire.done) < 10:
                wire.cuts = [draw.choice(["before", "during", "after"])]
                await asyncio.sleep(draw.uniform(0.005, 0.03))
                if draw.random() < 0.3:
                    wire.sever()
            wire.cuts, going = [], False

        await asyncio.gather(breaks(), *(requests(number) for number in range(12)))
        await until(lambda: ledger.health() is None)
        found = {hold_id: (state, s_input, s_output) for hold_id, state, s_input, s_output in await holds(ledger)}
        admitted = {hold_id: each for hold_id, each in found.items() if hold_id in charged}
        assert admitted == {hold_id: ("settled", 100, tokens) for hold_id, tokens in charged.items()}
        others = {each[0] for hold_id, each in found.items() if hold_id not in charged}
        assert others <= {"released"}, "whoever was refused has no hold that counts"
        assert len(charged) > 20
        assert (await ledger.usage("team-a")).output["used"] == sum(charged.values())
        await quiet(ledger)


async def test_postgres_restarts_under_load(postgres: Cluster, ledger_url: str) -> None:
    """Two ledgers; the server ends as in a crash, twice. A live stream goes on under its lease."""
    async with (
        opened(ledger_url, config=DURABLE) as first,
        opened(ledger_url, config=DURABLE) as second,
    ):
        key_id = await with_key(first, daily_input=100 * 10_000)
        await first.credit("team-a", [("payment", 1000 * USD)])
        stream = await first.reserve(command(id="req_stream", key_id=key_id, prepaid=True))
        going, charged, refused = True, dict[str, int](), 0

        async def load(ledger: Ledger, number: int) -> None:
            nonlocal refused
            turn = 0
            while going:
                turn += 1
                hold_id = f"req_{number}_{turn:05d}"
                try:
                    hold = await ledger.reserve(command(id=hold_id, key_id=key_id, prepaid=True))
                except Refusal as refusal:
                    assert refusal.code == "ledger_unavailable"
                    refused += 1
                    await asyncio.sleep(0.005)
                    continue
                charged[hold_id] = turn % 400 + 1
                ledger.settle(hold, finished(100, charged[hold_id]))
                await asyncio.sleep(0.002)

        tasks = [asyncio.create_task(load((first, second)[number % 2], number)) for number in range(10)]
        for lease in (400, 500):
            seen = len(charged)
            await until(lambda seen=seen: len(charged) > seen + 40)  # type: ignore[misc]
            postgres.stop("immediate")
            before = refused
            await until(lambda before=before: refused > before + 10)  # type: ignore[misc]
            await until(lambda: first.health() and second.health())
            assert "127.0.0.1" not in str(first.health())
            durable = stream.lease
            first.extend(stream, lease, urgent=True)
            await until(lambda before=refused: refused > before + 10)  # type: ignore[misc]
            assert stream.lease == durable < lease, "what is not durable is not delivered"
            postgres.start()
            await until(lambda: first.health() is None and second.health() is None, within_s=15)
            await until(lambda lease=lease: stream.lease == lease)  # type: ignore[misc]
        going = False
        await asyncio.gather(*tasks)
        first.settle(stream, finished(100, 480))
        charged["req_stream"] = 480
        await second.usage("team-a")  # both queues are through
        found = {hold_id: (state, s_output) for hold_id, state, _, s_output in await holds(first)}
        assert {hold_id: found[hold_id] for hold_id in charged} == {
            hold_id: ("settled", tokens) for hold_id, tokens in charged.items()
        }
        assert {found[hold_id][0] for hold_id in found.keys() - charged.keys()} <= {"released"}
        usage = await first.usage("team-a")
        assert (usage.output["used"], usage.in_flight) == (sum(charged.values()), 0)
        await quiet(second)


async def test_a_crash_of_the_server_hides_what_had_not_happened(
    wire: Wire, postgres: Cluster, ledger_url: str
) -> None:
    """The number of a transaction that never reached the disk is given to another one after a crash of the server: it
    says nothing about ours."""
    async with (
        opened(through(wire, postgres, ledger_url), config=DURABLE) as ours,
        opened(ledger_url, config=DURABLE) as others,
    ):
        key_id = await with_key(ours)
        other_key = await with_key(others, "team-b")
        held: list[Hold] = [await ours.reserve(command(id=f"req_{n}", key_id=key_id)) for n in range(3)]
        for hold in held:
            wire.cuts, done = ["before"], len(wire.done)
            ours.settle(hold, finished(100, 300))
            await until(lambda done=done: len(wire.done) > done)  # type: ignore[misc]
            wire.down = True
            postgres.stop("immediate")
            postgres.start()
            for turn in range(8):  # whatever numbers were ours are theirs now
                try:
                    other = await others.reserve(command(id=f"{hold.id}_{turn}", key_id=other_key))
                    others.settle(other, released("tested"))
                except Refusal:
                    await asyncio.sleep(0.1)
            wire.down = False
            await until(lambda: ours.health() is None, within_s=15)
        assert (await ours.usage("team-a")).output == {"used": 900, "reserved": 0, "cap": None}
        await quiet(others)


async def test_while_nobody_answers_requests_are_refused_and_nothing_is_lost(
    wire: Wire, postgres: Cluster, ledger_url: str
) -> None:
    async with opened(through(wire, postgres, ledger_url), config=DURABLE) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        wire.down = True
        wire.sever()
        with pytest.raises(Refusal) as refused:
            await ledger.reserve(command(key_id=key_id))
        assert (refused.value.code, refused.value.retry_after_s) == ("ledger_unavailable", 1)
        ledger.settle(hold, finished(100, 200))
        with pytest.raises(Refusal):
            await ledger.usage("team-a")
        wire.down = False
        await until(lambda: ledger.health() is None, within_s=10)
        assert (await ledger.usage("team-a")).output["used"] == 200
        await quiet(ledger)


async def test_a_server_that_hangs_is_given_up_and_its_locks_with_it(
    wire: Wire, postgres: Cluster, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun a batch, holds the account's lock, and says nothing more."""
    async with opened(through(wire, postgres, ledger_url), config=DURABLE) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(id="req_1", key_id=key_id))
        ledger._store._session.connection().patience_s = 0.2  # type: ignore[attr-defined]
        wire.freeze()
        asked = asyncio.create_task(ledger.reserve(command(id="req_2", key_id=key_id)))
        await asyncio.sleep(0.05)
        wire.down = True
        with pytest.raises(Refusal) as refused:
            await asked
        assert refused.value.code == "ledger_unavailable"
        ledger.settle(hold, finished(100, 200))
        wire.down = False
        wire.thaw()
        await until(lambda: ledger.health() is None)
        await ledger.ask(lambda raw: None)
        assert (await holds(ledger))[0] == ("req_1", "settled", 100, 200)
        assert {state for _, state, _, _ in (await holds(ledger))[1:]} <= {"released"}
        await quiet(ledger)


async def test_a_process_that_was_taken_for_dead_goes_on_without_harm(
    wire: Wire, postgres: Cluster, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not reach the server for so long that another one closed its requests. Back again, it charges nothing
    twice, its streams get no longer lease, and its new requests are its own."""
    monkeypatch.setattr(boots, "DEAD_S", 0.3)
    monkeypatch.setattr(store, "POLL_S", 0.05)
    clock = HeldClock()
    async with opened(ledger_url, clock, config=DURABLE) as other:
        key_id = await with_key(other)
        async with opened(through(wire, postgres, ledger_url), HeldClock(), config=DURABLE) as lost:
            first = lost.boot
            held = [await lost.reserve(command(id=f"req_{number}", key_id=key_id)) for number in range(3)]
            wire.down = True
            wire.sever()
            clock.pass_s(60)
            for _ in range(200):
                if {state for _, state, _, _ in await holds(other)} == {"recovered"}:
                    break
                await asyncio.sleep(0.05)
            wire.down = False
            await until(lambda: lost.health() is None)
            lost.settle(held[0], finished(100, 400))
            assert (await lost.settle_durably(held[1], released("late"))).output_tokens == 256
            lost.extend(held[2], 500, urgent=True)
            await until(lambda: held[2].lease_failed)
            again = await lost.reserve(command(id="req_9", key_id=key_id))
            lost.settle(again, finished(100, 10))
            await lost.ask(lambda raw: None)
            assert lost.boot > first
            assert await holds(lost) == [
                *((f"req_{number}", "recovered", 100, 256) for number in range(3)),
                ("req_9", "settled", 100, 10),
            ]
            await quiet(lost)


async def test_what_a_crash_undid_under_normal_durability_is_done_again(postgres: Cluster, ledger_url: str) -> None:
    """The server forgets what it said last; the process that lives on does not."""
    normal = LedgerConfig(durability="normal", busy_timeout_s=1.0)
    async with opened(ledger_url, config=normal) as ledger:
        key_id = await with_key(ledger)
        held = [await ledger.reserve(command(id=f"req_{number}", key_id=key_id)) for number in range(3)]
        with postgres.connect(ledger_url) as session:
            session.execute("CREATE TABLE durable ()")  # a commit that takes all before it to the disk
        for hold in held:
            await ledger.settle_durably(hold, finished(100, 300))
        postgres.stop("immediate")
        postgres.start()
        for _ in range(200):
            with suppress(Refusal):
                if {state for _, state, _, _ in await holds(ledger)} == {"settled"}:
                    break
            await asyncio.sleep(0.05)
        assert await holds(ledger) == [(f"req_{number}", "settled", 100, 300) for number in range(3)]
        assert (await ledger.usage("team-a")).in_flight == 0
        await quiet(ledger)


# -- F49: the clock steps


async def test_an_accepted_day_is_everybodys(ledger_url: str) -> None:
    clock = HeldClock()
    async with opened(ledger_url, clock) as first, opened(ledger_url, clock) as second:
        key_id = await with_key(first, daily_output=500)
        await second.reserve(command(key_id=key_id))
        clock.wall_ns += 30 * 86_400 * USD
        for ledger in (first, second):
            with pytest.raises(Refusal) as refused:
                await ledger.reserve(command(key_id=key_id))
            assert refused.value.code == "daily_output_tokens_exceeded"
            assert "leapt" in str(ledger.clock_alarm)
        assert await first.accept_day() == 20_030
        assert (await second.reserve(command(key_id=key_id))).limit == 500
        assert (first.clock_alarm, second.clock_alarm) == (None, None)
        await quiet(first)
