"""Running a batch of operations against Postgres, where other processes do the same (docs/ledger.md "On Postgres").

A batch is carried out in stretches, in order, each a transaction:

requests (plain operations)  one round trip locks and reads all that they touch, one writes it and commits
questions                    one read-only transaction with one view of everything, and no lock
an act of administration     alone, behind a lock that makes administration serial over all processes

Whether a COMMIT that got no answer has happened is asked of the server (doubt.py): what was committed keeps its
outcomes, what was not is done again. Where the server does not answer in time, the batch is in doubt: its
operations are told that they did not happen, and what it turns out to have admitted is released before anything else.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from streamrouter.ledger import rules
from streamrouter.ledger.book import Moment, Needs
from streamrouter.ledger.engine import Committed, Failed
from streamrouter.ledger.operations import Operation
from streamrouter.ledger.postgres import statements
from streamrouter.ledger.postgres.book import BatchBook, SharedBook, Statement, reading
from streamrouter.ledger.postgres.calendar import Calendar
from streamrouter.ledger.postgres.connection import LONG_S, PATIENCE_S, PostgresConnection
from streamrouter.ledger.postgres.doubt import Doubt, Fate, fate
from streamrouter.ledger.postgres.news import News
from streamrouter.ledger.postgres.schema import ADMIN, LOCK, LOCKS
from streamrouter.ledger.postgres.session import Session
from streamrouter.ledger.records import HoldRow
from streamrouter.ledger.verdicts import DatabaseError, Verdict, verdict
from streamrouter.ledger.writer import unavailable
from streamrouter.policy.endings import released

_ATTEMPTS = 5
_SERIALIZATION, _DEADLOCK, _READ_ONLY, _UNKNOWN = "40001", "40P01", "25006", "08007"
_LOCKED = "55P03"
_UNSURE_S = 3.0  # Postgres' own bound is three times its wal_writer_delay, 0.6 s
_ACT_WAITS_S = 1.0  # for acts of other processes; requests wait behind it
_PLAIN, _QUESTION, _ACT = range(3)
_BEGIN: Statement = ("BEGIN IMMEDIATE", ())
_COMMIT: Statement = ("COMMIT", ())
_ROLLBACK: Statement = ("ROLLBACK", ())
_ALONE: Statement = (f"SELECT pg_advisory_xact_lock{LOCK}", (LOCKS, ADMIN))


class _Release:
    """Give back what was admitted in doubt: whoever asked was told that it was not."""

    kept = True

    def __init__(self, holds: Sequence[HoldRow]) -> None:
        self._holds = holds

    def needs(self, needs: Needs) -> None:
        """The holds."""
        needs.holds.update(row.id for row in self._holds)
        needs.keys.update(row.key_id for row in self._holds)

    def apply(self, book: BatchBook, at: Moment) -> None:
        """Release those that are there."""
        for row in self._holds:
            if book.hold(row.id) is not None:
                rules.settle(book, row.id, released("cancelled"), at.now_ns)


class PostgresEngine:
    """One batch at a time, on the connection's thread. ``patience_s``: how long a COMMIT's outcome is asked for.

    ``durable`` False: a crash of the server may undo what was committed just before. What is true for all that
    (settlements, leases) is done again.
    """

    def __init__(
        self,
        session: Session,
        calendar: Calendar,
        news: News,
        *,
        lease_tokens: int,
        patience_s: float,
        durable: bool = True,
    ) -> None:
        self._session = session
        self._calendar = calendar
        self._news = news
        self._lease_tokens = lease_tokens
        self._patience_s = patience_s
        self._impatiently = (statements.IMPATIENTLY, (str(round(1000 * min(patience_s, _ACT_WAITS_S))),))
        self._holds: dict[str, HoldRow] = {}  # the open ones that this process made, as of the last commit
        self._number = 0  # of the last transaction
        self._doubt: Doubt | None = None
        self._orphans: tuple[HoldRow, ...] = ()  # admitted, as it turned out, and nobody has them
        self._durable = durable
        self._server = ""
        self._lately: deque[tuple[float, Any]] = deque()  # what is true, with its time, if it may be undone

    def forget(self) -> None:
        """Others have closed holds of ours: what is in memory is not to be believed."""
        self._holds.clear()

    def run(self, operations: Sequence[Operation]) -> Committed:
        """Carry out ``operations`` in order. DatabaseError: nothing was committed; its verdict says what now."""
        self._resolve()
        if not self._durable:
            self._restore()
        whole = Committed([], {}, {})
        if not operations:
            self._session.connection().execute("SELECT 1")
        for kind, stretch in _stretches(operations):
            try:
                self._carry_out(kind, stretch, whole)
            except DatabaseError as error:
                if not whole.outcomes:
                    raise
                whole.outcomes += [Failed(error)] * (len(operations) - len(whole.outcomes))
                break
        return whole

    def moment(self, row: Sequence[Any]) -> Moment:
        """What was read by ``statements.MOMENT``, as the moment of a batch."""
        now_ns, last_day, accepted, audited = row[:4]
        self._news.newest = max(self._news.newest, audited)
        day = self._calendar.read(now_ns, last_day, accepted)
        return Moment(now_ns, day, self._session.boot, self._lease_tokens)

    def _resolve(self) -> None:
        """Find out what became of a batch in doubt, and release what it admitted after all."""
        if self._doubt is not None:
            found = fate(self._session, self._doubt, 0.0)
            if found is Fate.COMMITTED:
                self._orphans += tuple(self._doubt.holds)
            self._doubt = None
        if self._orphans:
            release = _Release(self._orphans)
            self._again(lambda: self._requests([release], Committed([], {}, {})))
            self._orphans = ()

    def _restore(self) -> None:
        """Do again what a crash of the server may have undone: a second time it changes nothing."""
        self._session.connection()
        if self._server == self._session.server:
            return
        if self._server and self._lately:
            self.forget()
            self._carry_out(_PLAIN, [operation for _, operation in self._lately], Committed([], {}, {}))
        self._server = self._session.server

    def _remember(self, operations: Sequence[Any]) -> None:
        now = time.monotonic()
        self._lately.extend((now, operation) for operation in operations if operation.kept)
        while self._lately and self._lately[0][0] < now - _UNSURE_S:
            self._lately.popleft()

    def _carry_out(self, kind: int, operations: Sequence[Operation], whole: Committed) -> None:
        """One stretch; if one of its operations is wrong, each alone, so that only the wrong one fails."""
        way = (self._requests, self._questions, self._act)[kind]
        try:
            self._again(lambda: way(operations, whole))
        except Exception as error:
            # Whatever it is, it is judged: raised again, or the fault of one operation.
            if verdict(error) is not Verdict.FAULT:
                raise
            if len(operations) == 1:
                whole.outcomes.append(Failed(error))
                return
            for operation in operations:
                self._carry_out(kind, [operation], whole)

    def _again(self, way: Callable[[], None]) -> None:
        """Do it until nobody stood in the way: nothing is committed by one that did not get through.

        A connection that was lost before, and only now is found to be, is in the way once.
        """
        for attempt in range(_ATTEMPTS):
            connected = self._session.connected_s > 0
            try:
                way()
                return
            except DatabaseError as error:
                if error.sqlstate == statements.GUARD_BROKEN:
                    self.forget()
                elif error.lost:
                    if not connected or attempt or self._doubt is not None or error.sqlstate == _UNKNOWN:
                        raise
                elif error.sqlstate not in (_SERIALIZATION, _DEADLOCK):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise

    def _requests(self, operations: Sequence[Any], whole: Committed) -> None:
        needs = Needs()
        for operation in operations:
            operation.needs(needs)
        connection = self._session.connection()
        try:
            _, accounts, rows = connection.exchange([_BEGIN, *reading(needs, self._holds)])
            (row,) = rows
            at = self.moment(row)
            book = BatchBook(connection, accounts, row[4:], row[1] - 1, self._holds)
            outcomes = [operation.apply(book, at) for operation in operations]
            writing = book.writing()
            if writing:
                self._commit(connection, writing, at, row, tuple(book.new_holds.values()))
        finally:
            _end(connection)
        for hold_id, hold in book.touched_holds.items():
            if hold.state != "open":
                self._holds.pop(hold_id, None)
            elif hold.boot in self._session.ours:
                self._holds[hold_id] = hold
        if not self._durable:
            self._remember(operations)
        whole.outcomes += outcomes
        whole.accounts.update(book.touched_accounts)
        whole.keys.update(book.touched_keys)

    def _questions(self, operations: Sequence[Operation], whole: Committed) -> None:
        connection = self._session.connection()
        connection.patience_s = LONG_S
        try:
            *_, rows = connection.exchange([*statements.LOOK, (f"SELECT {statements.MOMENT}", ())])
            book, at = SharedBook(connection), self.moment(next(iter(rows)))
            outcomes = [operation.apply(book, at) for operation in operations]
        except DatabaseError as error:
            if error.sqlstate != _READ_ONLY:
                raise
            raise TypeError("what only asks has tried to change something") from error
        finally:
            connection.patience_s = PATIENCE_S
            _end(connection)
        whole.outcomes += outcomes

    def _act(self, operations: Sequence[Operation], whole: Committed) -> None:
        """Acts come one by one: their accounts are locked in the order that they ask for them."""
        connection = self._session.connection()
        before = connection.total_changes
        try:
            *_, rows = connection.exchange(
                [_BEGIN, statements.FREELY, self._impatiently, _ALONE, (statements.READ_MOMENT, ())]
            )
            (row,) = rows
            book, at = SharedBook(connection), self.moment(row)
            outcomes = [operation.apply(book, at) for operation in operations]
            book.write()
            if connection.total_changes != before:
                self._commit(connection, [], at, row, None)
        except DatabaseError as error:
            if error.sqlstate != _LOCKED:
                raise
            raise unavailable() from error  # of this act only: requests do not stop for it
        finally:
            _end(connection)
        whole.outcomes += outcomes
        whole.accounts.update(book.touched_accounts)
        whole.keys.update(book.touched_keys)

    def _commit(
        self,
        connection: PostgresConnection,
        writing: list[Statement],
        at: Moment,
        row: Sequence[Any],
        new: Sequence[HoldRow] | None,
    ) -> None:
        """Write and commit in one round trip; ``row`` is what ``at`` was read from, ``new`` the holds that requests
        made (None: an act). It raises only if it has not happened, or if that is not known: it is in doubt then.
        """
        if at.day > row[1]:
            writing.append((statements.WRITE_DAY, (at.day,)))
        self._number += 1
        writing.append((statements.WITNESS, (self._number, at.boot)))
        try:
            connection.exchange([*writing, _COMMIT])
        except DatabaseError as error:
            if not error.lost:
                raise
            self.forget()
            self._doubt = Doubt(at.boot, self._number, new or ())
            found = fate(self._session, self._doubt, self._patience_s)
            self._doubt = None
            if found is not Fate.COMMITTED:
                # Requests of which no hold is there may be done again; an act of which nothing is known may not.
                undone = found is Fate.ABORTED or new is not None
                told = f"a commit got no answer: {error}"
                raise DatabaseError(told, _SERIALIZATION if undone else _UNKNOWN, lost=not undone) from error


def _stretches(operations: Sequence[Operation]) -> Iterator[tuple[int, list[Operation]]]:
    """The operations in order, those of one kind together; acts one by one."""
    for kind, group in groupby(operations, _kind):
        if kind == _ACT:
            yield from ((kind, [operation]) for operation in group)
        else:
            yield kind, list(group)


def _kind(operation: Operation) -> int:
    return _PLAIN if operation.plain else _ACT if operation.changes else _QUESTION


def _end(connection: PostgresConnection) -> None:
    """Leave the transaction that is open still: it is to change nothing."""
    if connection.in_transaction and not connection.lost:
        connection.execute(*_ROLLBACK)
