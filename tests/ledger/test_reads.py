from __future__ import annotations

import pytest

from streamrouter.ledger import reads, rules
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import DAY, NOON_NS, account, command, finished, key, moment, opened, with_key


@pytest.fixture
def raw(tables: Connection) -> Connection:
    book = SqliteBook(tables, {})
    book.add_account(account(credited=10**9, daily_input=1000, models=["gpt"]))
    book.add_account(account(id="acct_2", name="acct_1-b"))
    book.add_key(key())
    book.add_key(key(id="key_2", hash=b"h2", account_id="acct_2"))
    rules.reserve(book, command(id="req_1", prepaid=True), moment())
    rules.reserve(book, command(id="req_2", prepaid=True), moment())
    rules.settle(book, "req_2", finished(), NOON_NS)
    book.write()
    return tables


def test_accounts_and_keys(raw: Connection) -> None:
    assert [each.name for each in reads.accounts(raw)] == ["acct_1-b", "team-a"]
    assert [each.id for each in reads.keys(raw)] == ["key_1", "key_2"]
    assert [each.id for each in reads.keys(raw, "acct_2")] == ["key_2"]
    assert reads.account_named(raw, "team-a").models == reads.account_named(raw, "acct_1").models == ["gpt"]


def test_usage_tells_what_is_used_reserved_and_capped(raw: Connection) -> None:
    usage = reads.usage(raw, "team-a", DAY)
    assert usage.input == {"used": 100, "reserved": 100, "cap": 1000}
    assert usage.output == {"used": 200, "reserved": 500, "cap": None}
    assert (usage.credited, usage.spent, usage.reserved_usd, usage.in_flight) == (10**9, 135_000, 315_000, 1)
    assert (usage.day, usage.unlimited) == ("2024-10-04", False)
    assert reads.usage(raw, "team-a", DAY + 1).input["used"] == 0


def test_an_unknown_account_says_where_to_look(raw: Connection) -> None:
    with pytest.raises(LookupError, match="user list"):
        reads.usage(raw, "nobody", DAY)


async def test_everybodys_day_at_once_is_what_each_one_is_told(place: str) -> None:
    async with opened(place) as ledger:
        first = await with_key(ledger, "b", daily_input=1000)
        await ledger.create_account("a", {})
        gone, _ = await ledger.create_key("b", "main", "sk-", None, None)
        await ledger.revoke_key(gone.id)
        await ledger.settle_durably(await ledger.reserve(command(key_id=first)), finished(7, 5))
        await ledger.reserve(command(key_id=first))
        found = await ledger.ask(lambda raw: reads.usages(raw, DAY))
        assert [(account.name, keys) for account, _, keys in found] == [("a", 0), ("b", 1)]
        assert [usage for _, usage, _ in found] == [await ledger.usage("a"), await ledger.usage("b")]
        assert (found[1][1].input["used"], found[1][1].in_flight) == (7, 1)
