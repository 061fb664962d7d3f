"""Several processes on one database: what is admitted is what fits, to the token, whoever asks and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import chain

import pytest

from streamrouter.config.schema import LedgerConfig
from streamrouter.errors import Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger import people
from streamrouter.ledger.ledger import Ledger
from tests.ledger.books import command, finished, opened, quiet, until, with_key
from tests.support.ledgers import Here, Remote, remotes
from tests.support.postgres import Cluster
from tests.support.profile import scaled

MANY = 60  # requests of each process at once
OF_ONE = command().price.most(100, 500)


def added(told: list[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in told:
        total.update(each)
    return total


async def at_once(others: list[Remote], here: Here, key_ids: list[str], **wanted: object) -> Counter[str]:
    """Everybody asks for ``MANY`` at the same moment."""
    work = [each.ask("reserve", key_ids=key_ids, many=MANY, **wanted) for each in others]
    return added(await asyncio.gather(*work, here.reserve(key_ids, MANY, **wanted)))


async def closed(others: list[Remote], here: Here) -> None:
    await asyncio.gather(*(each.ask("close", input_tokens=100, output_tokens=400, free=3) for each in others))
    await here.close(100, 400)


async def caps_and_balances(ledger: Ledger, others: list[Remote]) -> None:
    here = Here(ledger)
    for name, code, caps in (
        ("input", "daily_input_tokens_exceeded", {"daily_input": 3700}),
        ("output", "daily_output_tokens_exceeded", {"daily_output": 37 * 500}),
        ("concurrency", "concurrent_requests_exceeded", {"concurrency": 37}),
    ):
        key_id = await with_key(ledger, name, **caps)
        told = await at_once(others, here, [key_id])
        assert told == {"admitted": 37, code: MANY * (len(others) + 1) - 37}, name
        await quiet(ledger)
        await closed(others, here)
        assert (await ledger.usage(name)).in_flight == 0
    key_id = await with_key(ledger, "team-a")
    await ledger.credit("team-a", [("payment", 37 * OF_ONE)])
    told = await at_once(others, here, [key_id], prepaid=True)
    assert told == {"admitted": 37, "insufficient_balance": MANY * (len(others) + 1) - 37}
    await closed(others, here)
    usage = await ledger.usage("team-a")
    assert (usage.reserved_usd, usage.in_flight) == (0, 0) and 0 < usage.spent < usage.credited
    await quiet(ledger)


async def once_however_often(ledger: Ledger, others: list[Remote]) -> None:
    here = Here(ledger)
    await with_key(ledger, "team-b")
    wanted = {"user": "team-b", "ref": "r1", "many": 5}
    work = [each.ask("credit", **wanted, amount=7) for each in others]
    assert sum(await asyncio.gather(*work, here.credit("team-b", "r1", 5, 7))) == 1
    assert (await ledger.usage("team-b")).credited == 7
    work = [each.ask("key", **wanted) for each in others]
    assert len([*chain(*await asyncio.gather(*work, here.key("team-b", "r1", 5)))]) == 1
    _, link = await ledger.act(people.invite, "anna", "admin", None, None, None)
    digest = secret_hash(link).hex()
    work = [each.ask("join", link=digest, many=3) for each in others]
    outcomes = Counter(chain(*await asyncio.gather(*work, here.join(digest, 3))))
    assert outcomes == {"Who": 1, "link_expired": 3 * len(others) + 2}
    names = ["anna", *(f"admin{number}" for number in range(len(others)))]
    for name in names[1:]:
        await ledger.act(people.create_admin, name, "scrypt$")
    work = [each.ask("change", names=names) for each in others]
    await asyncio.gather(*work, here.change(names))
    assert await ledger.ask(people.admins) == 1, "the last admin stays one, whoever else was disabled at that moment"


async def a_revoked_key_is_dead_everywhere(ledger: Ledger, others: list[Remote]) -> None:
    key_id = await with_key(ledger, "team-c")
    first, *rest = others
    assert await first.ask("revoke", key_id=key_id) == "revoked"
    told = await asyncio.gather(*(each.ask("reserve", key_ids=[key_id], many=3) for each in rest))
    told.append(await Here(ledger).reserve([key_id], 3))
    assert all(each == {"invalid_api_key": 3} for each in told)


async def deadlocks_and_crossings(ledger: Ledger, others: list[Remote]) -> None:
    """Requests of several accounts in one batch, and administration that takes the same accounts in other orders."""
    keys = [await with_key(ledger, f"cross{number}") for number in range(4)]
    for number in range(4):
        await ledger.credit(f"cross{number}", [("payment", 10**9)])
    work = [
        each.ask("churn", key_ids=keys[number:] + keys[:number], rounds=6, many=24)
        for number, each in enumerate(others)
    ]

    async def administer() -> dict[str, int]:
        for turn in range(12):
            order = ((3, 0, 2, 1), (1, 3, 0, 2))[turn % 2]
            await asyncio.gather(*(ledger.credit(f"cross{number}", [("payment", 1)]) for number in order))
        return {}

    told = added(await asyncio.gather(*work, Here(ledger).churn(keys[::-1], 6, 24), administer()))
    assert told == {"admitted": 6 * 24 * (len(others) + 1)}
    assert {(await ledger.usage(f"cross{number}")).in_flight for number in range(4)} == {0}
    await quiet(ledger)


@pytest.mark.parametrize("many", [2] * scaled(1, 10) + [3] * scaled(0, 10))
async def test_processes_share_one_ledger(ledger_url: str, many: int) -> None:
    async with remotes(ledger_url, many) as others, opened(ledger_url) as ledger:
        assert len({ledger.boot, *(each.boot for each in others)}) == many + 1
        await caps_and_balances(ledger, others)
        await once_however_often(ledger, others)
        await a_revoked_key_is_dead_everywhere(ledger, others)
        await deadlocks_and_crossings(ledger, others)


class Stranger:
    """Somebody else in the database who locks accounts: a person with psql, a backup, an analyst."""

    def __init__(self, postgres: Cluster, url: str) -> None:
        self.session = postgres.connect(url)
        self.session.execute("SET deadlock_timeout = '60s'")  # whoever meets us is the victim
        self._look = postgres.connect(url)

    def lock(self, account_id: str) -> None:
        self.session.execute("SELECT 1 FROM account WHERE id = %s FOR UPDATE", (account_id,))

    async def met(self) -> None:
        """Somebody waits for a lock of ours."""
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> %s"
        pid = self.session.info.backend_pid
        await until(lambda: (self._look.execute(waiting, (pid,)).fetchone() or (0,))[0])

    def close(self) -> None:
        self.session.close()
        self._look.close()


@pytest.fixture
def stranger(postgres: Cluster, ledger_url: str) -> Iterator[Stranger]:
    with closing(Stranger(postgres, ledger_url)) as made:
        yield made


async def test_whoever_loses_a_deadlock_begins_again(postgres: Cluster, ledger_url: str, stranger: Stranger) -> None:
    async with opened(ledger_url) as ledger:
        keys = [await with_key(ledger, name) for name in ("team-a", "team-b")]
        first, second = sorted(account.id for account in await ledger.accounts())
        stranger.session.execute("BEGIN")
        stranger.lock(second)
        asked = asyncio.gather(*(ledger.reserve(command(key_id=key_id)) for key_id in keys))
        await stranger.met()  # the batch has the first account, and waits for the second one
        before = postgres.log().count("deadlock detected")
        await asyncio.to_thread(stranger.lock, first)
        assert postgres.log().count("deadlock detected") > before
        stranger.session.execute("ROLLBACK")
        assert len(await asked) == 2
        await quiet(ledger)


async def test_an_account_that_a_stranger_has_locked_is_waited_for_within_reason(
    ledger_url: str, stranger: Stranger
) -> None:
    """The busy timeout is the bound: then requests are refused, and what was delivered waits its turn."""
    impatient = LedgerConfig(durability="normal", busy_timeout_s=0.1)
    async with opened(ledger_url, config=impatient) as ledger:
        key_id = await with_key(ledger)
        hold = await ledger.reserve(command(key_id=key_id))
        stranger.session.execute("BEGIN")
        stranger.lock(hold.account_id)
        with pytest.raises(Refusal) as refused:
            await ledger.reserve(command(key_id=key_id))
        assert refused.value.code == "ledger_unavailable"
        ledger.settle(hold, finished(100, 200))
        stranger.session.execute("ROLLBACK")
        await until(lambda: ledger.health() is None)
        assert (await ledger.usage("team-a")).output["used"] == 200
        await quiet(ledger)
