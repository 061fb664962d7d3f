"""A key that is rotated with a time of grace: good until then, one concurrency cap with what replaced it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger import administration as admin
from streamrouter.ledger import rotations, rules
from streamrouter.ledger.denials import Denied
from streamrouter.ledger.records import Hold, Key
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import NOON_NS, DictBook, HeldClock, account, book, command, finished, key, moment, opened
from tests.ledger.test_administration import book as sqlite_book_fixture

HOUR_NS = 3600 * 1_000_000_000
AT = moment()
sqlite_book = sqlite_book_fixture


def family(**fields: dict[str, object]) -> DictBook:
    """Three keys, each of which replaced the one before it; ``fields`` by id."""
    of = book(of=account(daily_output=10_000, daily_input=10_000))
    links = (("key_1", None, "key_2"), ("key_2", "key_1", "key_3"), ("key_3", "key_2", None))
    for name, replaces, replaced_by in links:
        of.keys[name] = key(
            id=name,
            replaces=replaces,
            replaced_by=replaced_by,
            concurrency=4,
            **{"in_flight": 1, **fields.get(name, {})},
        )
    return of


@pytest.mark.parametrize("name", ["key_1", "key_2", "key_3"])
def test_a_family_shares_what_is_in_flight(name: str) -> None:
    of = family(key_1={"expires_ns": NOON_NS + 1}, key_2={"status": "revoked", "in_flight": 2})
    assert rotations.in_flight(of, of.keys[name], NOON_NS) == 4
    denied = rules.reserve(of, command(key_id="key_3"), AT)
    assert isinstance(denied, Denied)
    assert (denied.code, "has 4 requests in flight and may have 4" in denied.message) == (
        "concurrent_requests_exceeded",
        True,
    )


def test_a_chain_ends_at_a_key_that_is_neither_good_nor_in_use() -> None:
    of = family(key_1={"in_flight": 9}, key_2={"expires_ns": NOON_NS, "in_flight": 0})
    assert rotations.in_flight(of, of.keys["key_3"], NOON_NS) == 1
    assert rotations.in_flight(of, of.keys["key_3"], NOON_NS - 1) == 10
    assert rotations.predecessors(of, of.keys["key_3"], NOON_NS) == []
    del of.keys["key_2"]
    assert rotations.in_flight(of, of.keys["key_3"], NOON_NS) == 1


@pytest.mark.parametrize(("left_ns", "admitted"), [(1, True), (0, False), (-HOUR_NS, False)])
def test_a_reserve_asks_for_the_end_of_its_key(left_ns: int, admitted: bool) -> None:
    of = book(by=key(expires_ns=NOON_NS + left_ns))
    outcome = rules.reserve(of, command(), AT)
    assert isinstance(outcome, Hold) is admitted
    if isinstance(outcome, Denied):
        assert (outcome.code, "replaced and has expired" in outcome.message) == ("invalid_api_key", True)
        assert of.holds == {}


@pytest.fixture
def old(sqlite_book: SqliteBook) -> Iterator[Key]:
    admin.create_account(sqlite_book, AT, "team-a", {})
    made, _ = admin.create_key(sqlite_book, AT, "team-a", "main", "sk-", ["gpt"], 4)
    yield made


def test_grace_leaves_the_old_key_an_end(sqlite_book: SqliteBook, old: Key) -> None:
    new, _ = admin.rotate_key(sqlite_book, AT, old.id, "sk-", 3600)
    assert (old.status, old.expires_ns, old.replaced_by) == ("active", NOON_NS + HOUR_NS, new.id)
    assert (new.replaces, new.expires_ns, new.concurrency, new.models) == (old.id, None, 4, ["gpt"])
    with pytest.raises(ValueError, match=f"rotate {new.id}"):
        admin.rotate_key(sqlite_book, AT, old.id, "sk-", 3600)
    admin.revoke_key(sqlite_book, AT, old.id)
    assert old.status == "revoked"


def test_a_rotation_without_grace_ends_every_earlier_one(sqlite_book: SqliteBook, old: Key) -> None:
    second, _ = admin.rotate_key(sqlite_book, AT, old.id, "sk-", 7200)
    third, _ = admin.rotate_key(sqlite_book, AT, second.id, "sk-", 3600)
    assert old.expires_ns == second.expires_ns == NOON_NS + HOUR_NS  # no later than its successor
    admin.rotate_key(sqlite_book, AT, third.id, "sk-")
    assert [each.status for each in (old, second, third)] == ["revoked", "revoked", "revoked"]


async def test_the_old_key_works_until_its_end_and_its_streams_settle(place: str) -> None:
    clock = HeldClock()
    async with opened(place, clock=clock) as ledger:
        await ledger.create_account("team-a", {})
        first, secret = await ledger.create_key("team-a", "main", "sk-", None, 2)
        before = await ledger.reserve(command(key_id=first.id))
        second, _ = await ledger.rotate_key(first.id, "sk-", 3600)
        during = await ledger.reserve(command(key_id=first.id))
        with pytest.raises(Refusal, match="has 2 requests in flight and may have 2"):
            await ledger.reserve(command(key_id=second.id))
        clock.pass_s(3600)
        with pytest.raises(Refusal, match="has expired"):
            await ledger.reserve(command(key_id=first.id))
        for hold in (before, during):
            await ledger.settle_durably(hold, finished())
        assert await ledger.check() == []
        found = ledger.key_by_hash(secret_hash(secret))
        assert found is not None and (found[0].in_flight, found[0].expired(clock.now_ns())) == (0, True)
        assert (await ledger.reserve(command(key_id=second.id))).key_id == second.id
