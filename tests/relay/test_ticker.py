"""One timer for all: it runs while something is in it, and only then."""

from __future__ import annotations

import asyncio

from streamrouter.relay.ticker import Ticker
from tests.ledger.books import HeldClock, until


class Member:
    """Wants to be looked at ``times`` times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.seen: list[float] = []

    def tick(self, now: float) -> bool:
        self.seen.append(now)
        self.left -= 1
        return self.left > 0


async def test_each_member_is_looked_at_until_it_is_done() -> None:
    clock = HeldClock()
    ticker = Ticker(clock, period_s=0.001)
    short, long = Member(1), Member(3)
    ticker.add(short)
    ticker.add(long)
    assert len(ticker) == 2
    await until(lambda: len(ticker) == 0)
    assert (len(short.seen), len(long.seen)) == (1, 3)
    assert short.seen == [clock.monotonic()]


async def test_an_empty_ticker_sleeps_and_wakes_for_the_next_member() -> None:
    ticker = Ticker(HeldClock(), period_s=0.001)
    first, second = Member(1), Member(1)
    ticker.add(first)
    await until(lambda: len(ticker) == 0)
    await asyncio.sleep(0.01)
    assert len(first.seen) == 1
    ticker.add(second)
    await until(lambda: len(ticker) == 0)
    assert len(second.seen) == 1


async def test_a_member_that_is_added_twice_is_looked_at_once() -> None:
    ticker = Ticker(HeldClock(), period_s=0.001)
    member = Member(2)
    ticker.add(member)
    ticker.add(member)
    assert len(ticker) == 1
    await until(lambda: len(ticker) == 0)
    assert len(member.seen) == 2


async def test_a_member_may_be_added_while_others_are_looked_at() -> None:
    ticker = Ticker(HeldClock(), period_s=0.001)
    late = Member(1)

    class Adding(Member):
        def tick(self, now: float) -> bool:
            ticker.add(late)
            return super().tick(now)

    ticker.add(Adding(1))
    await until(lambda: len(ticker) == 0)
    assert len(late.seen) == 1
