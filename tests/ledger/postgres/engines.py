"""An engine on a ledger in Postgres, operations for it, and connections that are lost at a COMMIT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamrouter.ledger.book import Moment, Needs
from streamrouter.ledger.connection import Values
from streamrouter.ledger.postgres.calendar import Calendar
from streamrouter.ledger.postgres.connection import PostgresConnection, Result
from streamrouter.ledger.postgres.engine import PostgresEngine
from streamrouter.ledger.postgres.news import News
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.rules import reserve, settle
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.ledger.verdicts import DatabaseError
from streamrouter.policy.endings import Ending
from tests.ledger.books import NOON_NS, HeldClock, account, command
from tests.ledger.postgres.conftest import Connect


class Plain:
    """A reserve, or the settlement of one."""

    plain, changes = True, True

    @property
    def kept(self) -> bool:
        return self.ending is not None

    def __init__(self, hold_id: str, ending: Ending | None = None, key_id: str = "key_1") -> None:
        self.hold_id, self.ending, self.key_id = hold_id, ending, key_id

    def needs(self, needs: Needs) -> None:
        needs.keys.add(self.key_id)
        if self.ending is not None:
            needs.holds.add(self.hold_id)

    def apply(self, book: Any, at: Moment) -> Any:
        if self.ending is None:
            return reserve(book, command(id=self.hold_id, key_id=self.key_id, prepaid=True), at)
        return settle(book, self.hold_id, self.ending, at.now_ns)


class Act:
    plain, changes = False, True

    def __init__(self, act: Callable[[SqliteBook], Any]) -> None:
        self.act = act

    def apply(self, book: SqliteBook, at: Moment) -> Any:
        return self.act(book)


class Question(Act):
    changes = False


def adds(number: int) -> Act:
    return Act(lambda book: book.add_account(account(id=f"acct_n{number}", name=f"n{number}")))


def raises(error: Exception) -> Act:
    def act(book: SqliteBook) -> None:
        book.add_account(account(id="acct_wrong", name="wrong"))
        raise error

    return Act(act)


class Losing:
    """A connection whose next commit gets no answer: it is lost before it is sent, or after it was carried out."""

    def __init__(self, connection: PostgresConnection, how: list[str]) -> None:
        self._connection = connection
        self._how = how

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def exchange(self, statements: Sequence[tuple[str, Values]]) -> list[Result]:
        if self._how and statements[-1][0] == "COMMIT":
            how = self._how.pop(0)
            if how == "after":
                self._connection.exchange(statements)
            self._connection.close()
            raise DatabaseError("cut", lost=True)
        return self._connection.exchange(statements)


class Rig:
    """An engine with its session; ``how`` it loses its next commits, and whether there is a server at all."""

    def __init__(self, another: Connect) -> None:
        self.how: list[str] = []
        self.away = False
        self.clock = HeldClock()
        self._another = another
        self.session = Session(self._connect, lambda: None)
        calendar = Calendar(self.clock, NOON_NS, 0, 0)
        self.engine = PostgresEngine(self.session, calendar, News(0), lease_tokens=256, patience_s=0.2)

    def _connect(self) -> Any:
        if self.away:
            raise DatabaseError("nobody there", lost=True)
        return Losing(self._another(), self.how)

    def run(self, *operations: Any) -> list[Any]:
        return self.engine.run(operations).outcomes

    def holds(self) -> dict[str, str]:
        return dict(self._another().execute("SELECT id, state FROM hold").fetchall())
