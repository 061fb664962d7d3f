from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger.records import Hold, Settled
from streamrouter.ledger.verdicts import DATABASE_ERRORS
from streamrouter.policy.endings import released
from tests.ledger.books import HeldClock, command, finished, opened, quiet, until, with_key

USD = 1_000_000_000


def refusals(outcomes: list[Any]) -> list[str]:
    return [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)]


@pytest.fixture
def path(place: str) -> str:
    return place


# -- the life of a request


async def test_a_request_is_reserved_extended_and_settled(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger, daily_output=1000)
        await ledger.credit("team-a", [("payment", USD)])
        told: list[tuple[Hold, Any, Settled]] = []
        ledger.on_settled = lambda *parts: told.append(parts)
        hold = await ledger.reserve(command(key_id=key_id, prepaid=True))
        assert (hold.lease, hold.account_name, hold.remaining.output_tokens) == (256, "team-a", (1000, 500))
        grown = asyncio.Event()
        hold.on_lease = grown.set
        ledger.extend(hold, 400, urgent=True)
        await asyncio.wait_for(grown.wait(), 1)
        assert (hold.lease, hold.asked, hold.lease_failed) == (400, 400, False)
        ledger.settle(hold, finished(100, 200, upstream="demo"))
        usage = await ledger.usage("team-a")
        assert usage.output == {"used": 200, "reserved": 0, "cap": 1000}
        assert (usage.spent, usage.reserved_usd, usage.in_flight) == (135_000, 0, 0)
        await until(lambda: told)
        assert told[0][0] is hold and told[0][2].cost == 135_000
        ledger.extend(hold, 500, urgent=True)
        await quiet(ledger)
        assert hold.lease == 400


async def test_settling_twice_charges_once(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        told: list[Settled] = []
        ledger.on_settled = lambda hold, ending, settled: told.append(settled)
        hold = await ledger.reserve(command(key_id=key_id))
        ledger.settle(hold, finished(100, 200))
        ledger.settle(hold, finished(1, 1))
        assert (await ledger.settle_durably(hold, released("late"))).output_tokens == 200
        assert (await ledger.usage("team-a")).output["used"] == 200
        assert len(told) == 1
        await quiet(ledger)


async def test_a_whole_answer_waits_for_its_commit(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id, stream=False))
        settled = await ledger.settle_durably(hold, finished(100, 900))
        assert (settled.output_tokens, settled.over_output) == (500, 400)
        assert ledger.queue_length == 0


async def test_a_callback_with_a_bug_does_not_stop_the_writer(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        caught: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: caught.append(context))

        def buggy(*_: Any) -> None:
            raise KeyError("a bug")

        ledger.on_settled = buggy
        hold = await ledger.reserve(command(key_id=key_id))
        await ledger.settle_durably(hold, finished())
        await ledger.usage("team-a")
        assert len(caught) == 1 and ledger.health() is None


# -- races


@pytest.mark.parametrize("cap", ["daily_input", "daily_output", "balance", "concurrency"])
async def test_five_hundred_at_once_against_one_cap(path: str, cap: str) -> None:
    price_of_one = command().price.most(100, 500)
    async with opened(path) as ledger:
        key_id = await with_key(
            ledger,
            concurrency=37 if cap == "concurrency" else None,
            daily_input=3700 if cap == "daily_input" else None,
            daily_output=37 * 500 if cap == "daily_output" else None,
        )
        if cap == "balance":
            await ledger.credit("team-a", [("payment", 37 * price_of_one)])
        requests = [ledger.reserve(command(key_id=key_id, prepaid=cap == "balance")) for _ in range(500)]
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        holds = [outcome for outcome in outcomes if isinstance(outcome, Hold)]
        assert len(holds) == 37 and len(set(refusals(outcomes))) == 1
        assert not any(hold.clamped for hold in holds)
        await quiet(ledger)
        for hold in holds:
            ledger.settle(hold, released("tested"))
        usage = await ledger.usage("team-a")
        assert (usage.in_flight, usage.reserved_usd, usage.output["reserved"], usage.input["reserved"]) == (0, 0, 0, 0)


async def test_too_many_waiting_reserves_are_overload(path: str) -> None:
    async with opened(path, max_waiting=10) as ledger:
        key_id = await with_key(ledger)
        requests = [ledger.reserve(command(key_id=key_id)) for _ in range(50)]
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert refusals(outcomes) == ["overloaded"] * 40
        assert await ledger.reserve(command(key_id=key_id))


# -- cancellation


@pytest.mark.parametrize("turns", range(12))
async def test_a_request_cancelled_at_any_point_leaves_no_hold(path: str, turns: int) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        task = asyncio.create_task(ledger.reserve(command(key_id=key_id)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Hold):
            ledger.settle(outcome, released("tested"))
        usage = await ledger.usage("team-a")
        assert (usage.in_flight, usage.output["reserved"]) == (0, 0)
        await quiet(ledger)


async def test_a_request_cancelled_between_its_commit_and_its_turn_leaves_no_hold(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        task = asyncio.create_task(ledger.reserve(command(key_id=key_id)))
        committed = ledger._writer._committed

        def cancel_after_the_result(outcome: Any) -> None:
            committed(outcome)
            asyncio.get_running_loop().call_soon(task.cancel)

        ledger._writer._committed = cancel_after_the_result
        with pytest.raises(asyncio.CancelledError):
            await task
        ledger._writer._committed = committed
        assert (await ledger.usage("team-a")).in_flight == 0
        states = await ledger.ask(lambda raw: raw.execute("SELECT state, end_reason FROM hold").fetchall())
        assert states == [("released", "cancelled")]


# -- administration


async def test_keys_are_found_by_their_hash_as_of_the_last_commit(path: str) -> None:
    async with opened(path) as ledger:
        await ledger.create_account("team-a", {})
        key, secret = await ledger.create_key("team-a", "main", "sk-", None, None)
        digest = secret_hash(secret)
        found = ledger.key_by_hash(digest)
        assert found is not None and (found[0].id, found[1].daily_input) == (key.id, None)
        await ledger.set_account("team-a", {"daily_input": 7})
        new, _ = await ledger.rotate_key(key.id, "sk-")
        found = ledger.key_by_hash(digest)
        assert found is not None and (found[0].status, found[1].daily_input) == ("revoked", 7)
        assert ledger.key_by_hash(new.hash) is not None and ledger.key_by_hash(b"?") is None
        assert (await ledger.revoke_key(new.id)).status == "revoked"
        assert [each.status for each in await ledger.keys("team-a")] == ["revoked", "revoked"]
        assert (await ledger.set_account_status("team-a", "disabled")).status == "disabled"
        assert len(await ledger.accounts()) == 1 and len(await ledger.keys()) == 2
    async with opened(path) as ledger:
        assert ledger.key_by_hash(digest) is not None


async def test_a_mistake_in_administration_is_the_callers_alone(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        outcomes = await asyncio.gather(
            ledger.reserve(command(key_id=key_id)),
            ledger.set_account("nobody", {}),
            ledger.create_account("team-a", {}),
            ledger.usage("nobody"),
            ledger.ask(lambda raw: raw.execute("SELECT * FROM nothing")),
            ledger.reserve(command(key_id=key_id)),
            return_exceptions=True,
        )
        kinds = [Hold, LookupError, ValueError, LookupError, DATABASE_ERRORS, Hold]
        assert all(isinstance(outcome, kind) for outcome, kind in zip(outcomes, kinds, strict=True))  # type: ignore[arg-type]
        await quiet(ledger)


async def test_a_top_up_with_the_same_reference_counts_once_even_at_once(path: str) -> None:
    async with opened(path) as ledger:
        await ledger.create_account("team-a", {})
        done = await asyncio.gather(*(ledger.credit("team-a", [("payment", USD)], "r1") for _ in range(5)))
        assert sorted(each.repeated for each in done) == [False, True, True, True, True]
        assert (await ledger.usage("team-a")).credited == USD


async def test_a_revoked_key_is_refused_at_reserve_though_it_was_found_before(path: str) -> None:
    async with opened(path) as ledger:
        key_id = await with_key(ledger)
        outcomes = await asyncio.gather(
            ledger.revoke_key(key_id), ledger.reserve(command(key_id=key_id)), return_exceptions=True
        )
        assert refusals(list(outcomes)) == ["invalid_api_key"]


# -- the day


async def test_midnight_opens_a_new_day_and_a_stepped_clock_does_not(path: str) -> None:
    clock = HeldClock()
    async with opened(path, clock) as ledger:
        key_id = await with_key(ledger, daily_output=500)
        over_midnight = await ledger.reserve(command(key_id=key_id))
        clock.wall_ns += 30 * 86_400 * USD
        with pytest.raises(Refusal) as refused:
            await ledger.reserve(command(key_id=key_id))
        assert refused.value.code == "daily_output_tokens_exceeded"
        assert "leapt" in (ledger.clock_alarm or "")
        clock.wall_ns -= 30 * 86_400 * USD
        assert ledger.clock_alarm is None
        clock.pass_s(86_400)
        today = await ledger.reserve(command(key_id=key_id))
        assert today.limit == 500
        ledger.settle(over_midnight, finished(100, 200))
        assert (await ledger.usage("team-a")).output == {"used": 0, "reserved": 500, "cap": 500}
        ledger.settle(today, finished())
        clock.pass_s(-7200 * 12)
        assert (await ledger.usage("team-a")).output["used"] == 200
        await quiet(ledger)


async def test_an_operator_may_accept_the_clocks_date(path: str) -> None:
    clock = HeldClock()
    async with opened(path, clock) as ledger:
        await with_key(ledger, daily_output=500)
        clock.wall_ns += 30 * 86_400 * USD
        assert "leapt" in str(ledger.clock_alarm)
        assert await ledger.accept_day() == 20_030
        assert str(ledger.clock_alarm) == "None"
        await ledger.usage("team-a")
    async with opened(path, clock) as ledger:
        assert (await ledger.usage("team-a")).day == "2024-11-03"
