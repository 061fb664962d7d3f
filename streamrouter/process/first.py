"""The first account and key of an empty ledger, so that the first request of the first minute works."""

from __future__ import annotations

from msgspec.structs import asdict

from streamrouter.config.schema import Config
from streamrouter.ledger import administration, reads
from streamrouter.ledger.book import Moment
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.sqlite_book import SqliteBook

FIRST_ACCOUNT = "default"


async def first_key(ledger: Ledger, config: Config) -> tuple[str, str | None]:
    """The first account's name, and a key of it where this has made one (a later start cannot show it again)."""
    accounts = await ledger.accounts()
    return (accounts[0].name, None) if accounts else await ledger.act(_made, config)


def _made(book: SqliteBook, at: Moment, config: Config) -> tuple[str, str | None]:
    """In one transaction: of processes that start on one empty database, one makes the key."""
    if accounts := reads.accounts(book.connection):
        return accounts[0].name, None
    administration.create_account(book, at, FIRST_ACCOUNT, asdict(config.defaults))
    surface = config.surface[0]
    wanted = (surface.name, surface.key_prefix, None, surface.concurrency)
    return FIRST_ACCOUNT, administration.create_key(book, at, FIRST_ACCOUNT, *wanted)[1]
