"""Whether a COMMIT whose answer never came has happened: each transaction leaves its number in its process's own row.

The row says it once nothing can be written there any more: when the connection of that transaction is gone at the
server. Then the lock of the boot that it ran under is free, or ours again (boots.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from enum import Enum, auto

from msgspec import Struct

from streamrouter.ledger.postgres import boots, statements
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.records import HoldRow
from streamrouter.ledger.verdicts import DatabaseError

_PAUSE_S = 0.05


class Fate(Enum):
    """What became of a transaction."""

    COMMITTED = auto()
    ABORTED = auto()
    FORGOTTEN = auto()  # others took its process for dead, and removed the row that would tell


class Doubt(Struct, frozen=True):
    """A transaction of which it is not known yet. ``holds``: those that it would have made."""

    boot: int
    number: int
    holds: Collection[HoldRow] = ()


def fate(session: Session, doubt: Doubt, patience_s: float) -> Fate:
    """What became of it, on a new connection if need be. DatabaseError: not to be found out within ``patience_s``."""
    until = time.monotonic() + patience_s
    while True:
        try:
            found = _ask(session, doubt)
        except DatabaseError as error:
            if not error.lost or time.monotonic() >= until:
                raise
            found = None
        if found is not None:
            return found
        if time.monotonic() >= until:
            raise DatabaseError("the server has not ended a transaction of a lost connection yet", lost=True)
        time.sleep(_PAUSE_S)


def _ask(session: Session, doubt: Doubt) -> Fate | None:
    """None: it goes on still."""
    connection = session.connection()
    if doubt.boot != session.boot and not boots.is_free(connection, doubt.boot):
        return None
    row = connection.execute(statements.READ_WITNESS, (doubt.boot,)).fetchone()
    if row is None:
        return Fate.FORGOTTEN
    return Fate.COMMITTED if row == (doubt.number,) else Fate.ABORTED
