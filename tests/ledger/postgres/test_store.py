from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import psycopg
import pytest

from streamrouter.clock import SystemClock
from streamrouter.errors import LedgerError, Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.postgres import store as store_module
from streamrouter.ledger.postgres.store import PostgresStore
from streamrouter.ledger.records import Hold
from streamrouter.ledger.store import Store
from tests.ledger.books import FAST, HeldClock, command, finished, no_fatal, opened, until, with_key
from tests.support.ports import free_ports
from tests.support.postgres import PASSWORD, Cluster


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "POLL_S", 0.02)


def _round_trips(ledger: Ledger) -> int:
    store = ledger._store
    assert isinstance(store, PostgresStore)
    as_any_store: Store = store  # for the type checker: the ledger imports it by its name
    assert as_any_store.boot == ledger.boot
    return store.round_trips


async def _in_flight(ledger: Ledger, at_most: int) -> int:
    """How many are, once they are no more than that."""
    async with asyncio.timeout(5):
        while (found := (await ledger.usage("team-a")).in_flight) > at_most:
            pass
    return found


async def test_a_key_of_another_process_works_at_once_and_what_changes_is_heard(ledger_url: str) -> None:
    async with opened(ledger_url) as one, opened(ledger_url) as two:
        key_id = await with_key(one)
        key, secret = await one.create_key("team-a", "main", "sk-", None, None)
        found = await two.find(secret_hash(secret))
        assert found is not None and (found[0].id, found[1].name) == (key.id, "team-a")
        assert isinstance(await two.reserve(command(key_id=key.id)), Hold)
        await one.set_account("team-a", {"daily_output": 5})
        await one.revoke_key(key_id)
        with pytest.raises(Refusal, match="was revoked"):
            await two.reserve(command(key_id=key_id))
        await until(lambda: (heard := two.key_by_hash(key.hash)) and heard[1].daily_output == 5)


async def test_whoever_guesses_keys_does_not_reach_the_database(ledger_url: str) -> None:
    async with opened(ledger_url) as ledger:
        trips = _round_trips(ledger)
        for number in range(200):
            assert await ledger.find(b"%32d" % number) is None
        assert _round_trips(ledger) - trips < 100


async def test_what_a_closed_process_left_open_is_recovered_by_the_others(ledger_url: str) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(opened(ledger_url))
        async with opened(ledger_url) as two:
            key_id = await with_key(two)
            await two.reserve(command(key_id=key_id))
            mine = await one.reserve(command(key_id=key_id))

        assert await _in_flight(one, at_most=1) == 1
        one.settle(mine, finished(1, 2))
        usage = await one.usage("team-a")
        assert (usage.output["used"], usage.in_flight) == (258, 0)
        assert await one.check() == []


async def test_the_next_start_recovers_too(ledger_url: str) -> None:
    async with opened(ledger_url) as ledger:
        await ledger.reserve(command(key_id=await with_key(ledger)))
    async with opened(ledger_url) as ledger:
        assert ledger.recovered == 1 and await ledger.check() == []


async def test_backup_names_what_does_it(ledger_url: str) -> None:
    async with opened(ledger_url) as ledger:
        with pytest.raises(LedgerError, match="pg_dump"):
            await ledger.backup("/nowhere")


async def test_trouble_shows_before_anybody_asks_and_passes(
    postgres: Cluster, ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(ledger_url) as ledger:
        key_id = await with_key(ledger)
        name = ledger_url.rpartition("/")[2]
        with postgres.connect() as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            await until(ledger.health)
            assert ledger.health() == "the ledger's database cannot be written: it does not answer"
            with pytest.raises(Refusal) as told:
                await ledger.reserve(command(key_id=key_id))
            assert told.value.code == "ledger_unavailable"
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await until(lambda: ledger.health() is None)
        assert isinstance(await ledger.reserve(command(key_id=key_id)), Hold)
    assert "is not currently accepting connections" in caplog.text and PASSWORD not in caplog.text


async def test_a_place_without_a_server_is_told_without_its_password() -> None:
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/x"
    with pytest.raises(LedgerError) as told:
        await Ledger.open(url, config=FAST, clock=HeldClock(), on_fatal=no_fatal)
    text = str(told.value)
    assert text.startswith("postgresql://u@127.0.0.1:") and PASSWORD not in text and "\n" not in text


async def test_wrong_books_are_not_served(ledger_url: str) -> None:
    async with opened(ledger_url) as ledger:
        await with_key(ledger)
    with psycopg.connect(ledger_url) as other:
        other.execute("UPDATE account SET credited = 5")
    with pytest.raises(LedgerError, match=r"do not add up.*credit"):
        async with opened(ledger_url):
            pass


async def test_two_ledgers_in_two_schemas_do_not_know_each_other(postgres: Cluster, database: str) -> None:
    with postgres.connect(database) as admin:
        for name in ("one", "two"):
            admin.execute(f"CREATE SCHEMA {name}")
    places = [f"{database}?options=-csearch_path%3D{name}" for name in ("one", "two")]
    one, two = [await Ledger.open(place, config=FAST, clock=SystemClock(), on_fatal=no_fatal) for place in places]
    try:
        assert (one.boot, two.boot) == (1, 1)
        await one.create_account("team-a", {})
        assert await two.accounts() == []
    finally:
        await one.close()
        await two.close()
