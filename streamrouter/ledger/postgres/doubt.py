"""Whether a COMMIT whose answer never came has happened: the server knows, by the transaction's number."""

from __future__ import annotations

import time
from collections.abc import Collection
from enum import Enum

from msgspec import Struct

from streamrouter.ledger.postgres.book import named
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.records import HoldRow
from streamrouter.ledger.verdicts import DatabaseError

_STATUS = "SELECT pg_xact_status(?::xid8)"
_WITNESS = "SELECT count(*) FROM hold WHERE id IN (SELECT json_array_elements_text(?::json))"
_NEVER_HEARD_OF = "22023"  # a number of the future: another server, or one that was set back
_PAUSE_S = 0.05


class Fate(Enum):
    """What became of a transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    FORGOTTEN = "the server does not know it"


class Doubt(Struct, frozen=True):
    """A batch of which it is not known yet. ``holds``: those that it would have made."""

    number: str
    holds: Collection[HoldRow]


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
    try:
        (status,) = connection.execute(_STATUS, (doubt.number,)).fetchone() or (None,)
    except DatabaseError as error:
        if error.sqlstate != _NEVER_HEARD_OF:
            raise
        status = None
    if status is None:
        (found,) = connection.execute(_WITNESS, (named(row.id for row in doubt.holds),)).fetchone() or (0,)
        return Fate.COMMITTED if found else Fate.FORGOTTEN
    return None if status == "in progress" else Fate(status)
