from __future__ import annotations

import asyncio

import pytest

from streamrouter.errors import Refusal
from streamrouter.policy.passwords import Cost
from streamrouter.web.console.door import Door
from tests.ledger.books import HeldClock

CHEAP = Cost(n=16)


def refused_for(door: Door, name: str, address: str) -> int:
    """Seconds to wait, 0 for none."""
    try:
        door.knock(name, address)
    except Refusal as refusal:
        assert refusal.code == "too_many_attempts" and refusal.retry_after_s is not None
        return refusal.retry_after_s
    return 0


async def test_a_password_is_known_again() -> None:
    door = Door(HeldClock(), CHEAP)
    kept = await door.encode("correct horse")
    assert kept != await door.encode("correct horse")  # a salt of its own
    assert await door.verify("correct horse", kept)
    assert not await door.verify("wrong", kept)
    assert not door.outdated(kept) and Door(HeldClock()).outdated(kept)


async def test_where_there_is_no_password_none_is_right() -> None:
    door = Door(HeldClock(), CHEAP)
    assert [await door.verify(password, None) for password in ("nobody", "", "x")] == [False, False, False]


async def test_mistakes_cost_time_by_name_and_it_passes() -> None:
    clock = HeldClock()
    door = Door(clock, CHEAP)
    assert [refused_for(door, "Anna", f"192.0.2.{n}") for n in range(3)] == [0, 0, 0]
    assert refused_for(door, "anna", "198.51.100.1") == 1  # from anywhere
    assert refused_for(door, "ben", "198.51.100.1") == 0
    clock.pass_s(1.5)
    assert refused_for(door, "anna", "198.51.100.1") == 0
    assert refused_for(door, "anna", "198.51.100.1") == 2
    clock.pass_s(2)
    door.welcome("anna", "198.51.100.1")
    assert refused_for(door, "anna", "198.51.100.1") == 0


async def test_mistakes_cost_time_by_address_whatever_the_name() -> None:
    door = Door(HeldClock(), CHEAP)
    waits = [refused_for(door, f"name-{n}", "192.0.2.1") for n in range(11)]
    assert waits == [0] * 10 + [1]
    assert refused_for(door, "name-99", "192.0.2.2") == 0


async def test_one_good_password_does_not_open_the_address_for_the_others() -> None:
    clock = HeldClock()
    door = Door(clock, CHEAP)
    for number in range(9):
        door.knock(f"name-{number}", "192.0.2.1")
    door.knock("mine", "192.0.2.1")
    door.welcome("mine", "192.0.2.1")
    assert refused_for(door, "name-10", "192.0.2.1") == 0
    assert refused_for(door, "name-11", "192.0.2.1") == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("unix", "unix", True),
    ],
)
async def test_an_ipv6_household_is_one_address(one: str, other: str, same: bool) -> None:
    door = Door(HeldClock(), CHEAP)
    for number in range(10):
        door.knock(f"name-{number}", one)
    assert (refused_for(door, "another", other) > 0) is same


async def test_hashing_is_bounded() -> None:
    """Two at once, thirty more in line; the rest are told to come back, and the loop goes on all the while."""
    door = Door(HeldClock(), Cost(n=1024))
    outcomes = await asyncio.gather(*(door.encode("x" * 10) for _ in range(60)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert len(refused) == 28 and {refusal.code for refusal in refused} == {"too_many_attempts"}
    assert await door.encode("after all")


async def test_whoever_is_not_even_heard_made_no_mistake() -> None:
    door = Door(HeldClock(), Cost(n=1024))
    hashing = [asyncio.create_task(door.encode("x" * 10)) for _ in range(32)]
    await asyncio.sleep(0)
    assert [refused_for(door, "anna", "192.0.2.1") for _ in range(20)] == [1] * 20
    await asyncio.gather(*hashing)
    assert [refused_for(door, "anna", "192.0.2.1") for _ in range(3)] == [0, 0, 0]
