"""What other processes changed of accounts and keys: whatever is administered leaves a line of audit that names it.

Lines are written behind the lock of administration, so their numbers become visible in order.
"""

from __future__ import annotations

from streamrouter.ledger.connection import Connection
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.records import Account, Key
from streamrouter.ledger.sqlite_book import SELECT_ACCOUNT, SELECT_KEY, account_of, key_of

_SUBJECTS = "(SELECT subject FROM audit WHERE number > ? AND number <= ?)"
_ACCOUNTS = f"{SELECT_ACCOUNT} WHERE id IN {_SUBJECTS}"
_KEYS = f"{SELECT_KEY} WHERE id IN {_SUBJECTS}"
_KEY = SELECT_KEY + " WHERE hash = ?"
_OWNER = SELECT_ACCOUNT + " WHERE id = (SELECT account_id FROM api_key WHERE hash = ?)"  # noqa: S608 - our own names

Changed = tuple[dict[str, Account], dict[str, Key]]


class News:
    """``newest``: the number of the newest line that is known to exist; up to ``told`` its subject is known too."""

    def __init__(self, told: int) -> None:
        self.told = self.newest = told

    def fetch(self, connection: PostgresConnection) -> Changed:
        """The accounts and keys that were changed since the last time, as they are now."""
        if self.newest <= self.told:
            return {}, {}
        newest = self.newest
        span = (self.told, newest)
        accounts, keys = connection.exchange([(_ACCOUNTS, span), (_KEYS, span)])
        self.told = newest
        return {row[0]: account_of(row) for row in accounts}, {row[0]: key_of(row) for row in keys}


def find(connection: Connection, digest: bytes) -> tuple[Key, Account] | None:
    """The key with this SHA-256 and its account."""
    key = connection.execute(_KEY, (digest,)).fetchone()
    if key is None:
        return None
    return key_of(key), account_of(connection.execute(_OWNER, (digest,)).fetchone())
