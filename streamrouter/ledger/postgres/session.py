"""This process's place at the database: a connection that is made anew when it is lost, and the numbers that are ours.

Everything here is the thread's. DatabaseError with ``lost``: there is no connection now.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from streamrouter.errors import LedgerError
from streamrouter.ledger.postgres import boots, schema
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.schema import VERSION
from streamrouter.ledger.verdicts import DatabaseError

log = logging.getLogger("streamrouter.ledger")
_OURSELVES = """SELECT pid, backend_start::text, pg_postmaster_start_time()::text FROM pg_stat_activity
    WHERE pid = pg_backend_pid()"""
_HANG_UP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ? AND backend_start::text = ?"
_HANGING_UP_S = 0.05


class Session:
    """``connect`` makes a connection; ``forgotten`` is called when others may have closed holds of ours."""

    def __init__(self, connect: Callable[[], PostgresConnection], forgotten: Callable[[], None]) -> None:
        self.connect = connect
        self.me = boots.myself()
        self.boot = 0  # the number that new holds are made under
        self.server = ""  # which run of which server it is: when it began
        self._forgotten = forgotten
        self._current: PostgresConnection | None = None
        self._backend: tuple[int, str] | None = None  # the server's process of the current connection, or the last one
        self._since = 0.0
        self._boots: list[int] = []  # ours, the newest last: older ones have holds of before a connection was lost
        self._round_trips = 0  # of connections that are gone

    @property
    def round_trips(self) -> int:
        """How often the server was waited for."""
        return self._round_trips + (0 if self._current is None else self._current.round_trips)

    @property
    def ours(self) -> tuple[int, ...]:
        """All numbers of this process."""
        return tuple(self._boots)

    def connection(self) -> PostgresConnection:
        """The connection, whose number is locked: what it commits, nobody closes behind our back."""
        found = self._current
        if found is not None and not found.lost:
            return found
        self.drop()
        made = self.connect()
        try:
            self._enter(made)
        except (DatabaseError, LedgerError) as error:  # whatever is wrong there, it is no operation's fault
            made.close()
            raise DatabaseError(str(error), getattr(error, "sqlstate", ""), lost=True) from error
        self._current, self._since = made, time.monotonic()
        return made

    def _enter(self, made: PostgresConnection) -> None:
        if schema.version(made) != VERSION:  # restored, or upgraded, while we were not connected
            raise LedgerError(f"the ledger's tables are not those of this program any more (schema {VERSION})")
        if not self._is_back(made):
            if self.boot:
                self._forgotten()
            self.boot = boots.enter(made, self.me)
            self._boots.append(self.boot)
        pid, began, self.server = made.execute(_OURSELVES).fetchone() or (0, "", "")
        self._backend = (pid, began)

    @property
    def connected_s(self) -> float:
        """For how long the connection has been there."""
        return 0.0 if self._current is None else time.monotonic() - self._since

    def _is_back(self, made: PostgresConnection) -> bool:
        """Take our number again. What is left of the connection before may have it still, and locks of accounts too."""
        if self.boot not in self._boots:
            return False
        if self._backend is not None and made.execute(_HANG_UP, self._backend).fetchone() is not None:
            time.sleep(_HANGING_UP_S)
        return boots.enter_again(made, self.boot)

    def pulse(self) -> None:
        """Say that we live."""
        alive = boots.pulse(self.connection(), self._boots)
        if len(alive) == len(self._boots):
            return
        log.error("this process was taken for dead; what it had open was closed as recovered")
        self._forgotten()
        self._boots = [boot for boot in self._boots if boot in alive]
        if self.boot not in alive:
            self.drop()  # the next connection gets a number of its own

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self._current is not None:
            self._round_trips += self._current.round_trips
            self._current.close()
            self._current = None

    def leave(self) -> None:
        """A clean end."""
        if self._current is not None and not self._current.lost:
            boots.leave(self._current, self._boots)
        self.drop()
