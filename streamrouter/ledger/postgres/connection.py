"""The connection to Postgres as the ledger's SQL knows one, and the pipeline beneath it.

Everything goes by libpq's pipeline: a list of statements is sent, then their answers are read. Statements that come
again are prepared once a connection. Values travel as text, typed by what they are in Python. The thread that waits
leaves the interpreter to the others.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import pq

from streamrouter.errors import LedgerError
from streamrouter.ledger.connection import Values
from streamrouter.ledger.postgres.dialect import Translated, translate
from streamrouter.ledger.verdicts import DatabaseError

Row = tuple[Any, ...]
_Key = tuple[str, tuple[int, ...]]  # a statement and the types of its values
_Bound = tuple[list[bytes | None], tuple[int, ...], list[int]]
CONNECT_S = 5
PATIENCE_S = 15.0  # with a server that says nothing
LONG_S = 60.0  # where it may have much to do: a check of millions of holds takes seconds
_LOOK_S = 1.0
_MOST_PREPARED = 400  # statements are constants; whatever is beyond that is not worth memory on the server
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
_BIGINT, _TEXT, _BYTEA, _DOUBLE = 20, 25, 17, 701
# Behind a connection that is broken, or whose server may no longer be the one to write to: a new one is made.
_UNUSABLE = ("08", "57P", "25", "26", "0A")

_DURABLE = """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply', 'remote_write')"""
_NOT_DURABLE = "SELECT set_config('synchronous_commit', 'off', false)"
_OPTIONS = {
    "application_name": "streamrouter",
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_S,
    "target_session_attrs": "read-write",  # of several hosts the one that is the primary now
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class Result:
    """The rows of one statement: a cursor that has everything already."""

    def __init__(self, names: list[str] | None, rows: list[Row], rowcount: int) -> None:
        self.description = None if names is None else [(name,) for name in names]
        self.rowcount = rowcount
        self._rows = rows
        self._next = 0

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int = 1) -> list[Row]:
        """The next rows."""
        rows = self._rows[self._next : self._next + size]
        self._next += len(rows)
        return rows

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return self.fetchmany(len(self._rows))

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())


class PostgresConnection:
    """One connection. DatabaseError is raised by everything; ``lost`` errors end it, and it is to be closed."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._libpq.enter_pipeline_mode()
        self._poll = select.poll()
        self._socket = self._libpq.socket
        self._poll.register(self._socket, select.POLLIN)
        self._prepared: dict[_Key, bytes] = {}
        self._names = 0
        self.patience_s = PATIENCE_S
        self.total_changes = 0
        self.round_trips = 0

    @property
    def in_transaction(self) -> bool:
        """Whether a BEGIN has had no end yet (on a lost connection there is nothing left to end)."""
        status = self._libpq.transaction_status
        return status not in (pq.TransactionStatus.IDLE, pq.TransactionStatus.UNKNOWN)

    @property
    def lost(self) -> bool:
        """Whether it is of no use any more."""
        return self._libpq.status != pq.ConnStatus.OK

    def execute(self, sql: str, parameters: Values = ()) -> Result:
        """One statement in one round trip; ``sql`` is SQLite's (dialect.py)."""
        (result,) = self.exchange([(sql, parameters)])
        return result

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Result:
        """One statement with each row of values, in one round trip."""
        results = self.exchange([(sql, values) for values in parameters])
        return Result(None, [], sum(result.rowcount for result in results))

    def exchange(self, statements: Sequence[tuple[str, Values]]) -> list[Result]:
        """All ``statements`` in one round trip. The first error is raised; what stands behind it was not done.

        A server that says nothing for ``patience_s`` has lost the connection.
        """
        if not statements:
            return []
        ready = [_ready(sql, values) for sql, values in statements]  # nothing is sent if one of them cannot be
        self.round_trips += 1
        sent: list[_Key | None] = []  # of each answer to come: the statement that it says is prepared, or None: rows
        try:
            for statement, bound in ready:
                self._send(statement, bound, sent)
            self._libpq.pipeline_sync()
            return self._receive(sent)
        except psycopg.Error as error:
            raise self._gone(str(error)) from error

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _send(self, statement: Translated, bound: _Bound, sent: list[_Key | None]) -> None:
        data, types, formats = bound
        key = (statement.sql, types)
        name = self._prepared.get(key)
        if name is None:
            if not statement.prepared or len(self._prepared) >= _MOST_PREPARED:
                self._libpq.send_query_params(statement.sql.encode(), data, types, formats)
                sent.append(None)
                return
            self._names += 1
            name = self._prepared[key] = b"sr%d" % self._names
            self._libpq.send_prepare(name, statement.sql.encode(), types)
            sent.append(key)
        self._libpq.send_query_prepared(name, data, formats)
        sent.append(None)

    def _receive(self, sent: list[_Key | None]) -> list[Result]:
        """Read the answers to everything that was sent, up to the end of the round trip."""
        results: list[Result] = []
        failed: pq.abc.PGresult | None = None
        for key in sent:
            answer = self._answer()
            if answer.status not in _GOOD:
                if failed is None:
                    failed = answer
                if key is not None:
                    del self._prepared[key]
            elif key is None:
                result = _result(answer)
                if result.description is None:
                    self.total_changes += result.rowcount
                results.append(result)
        self._answer()  # the end of the pipeline: only then the state of the transaction is known
        if failed is not None:
            raise self._failure(failed)
        return results

    def _answer(self) -> pq.abc.PGresult:
        """The next answer. psycopg.Error if the connection broke."""
        libpq = self._libpq
        silent_s = 0.0
        while True:
            sending = bool(libpq.flush())
            if sending or libpq.is_busy():
                if silent_s >= self.patience_s:
                    raise self._gone(f"no answer within {self.patience_s:g} s")
                silent_s += self._wait(sending, min(_LOOK_S, self.patience_s - silent_s))
                libpq.consume_input()
                continue
            answer = libpq.get_result()
            if libpq.status != pq.ConnStatus.OK:
                raise self._gone(libpq.get_error_message()) if answer is None else self._failure(answer)
            if answer is not None:
                return answer

    def _wait(self, sending: bool, seconds: float) -> float:
        """Wait for the socket, but not for long: TLS may have read already what is waited for. How long it was for
        nothing.
        """
        self._poll.modify(self._socket, select.POLLIN | select.POLLOUT if sending else select.POLLIN)
        return 0.0 if self._poll.poll(seconds * 1000) else seconds

    def _failure(self, answer: pq.abc.PGresult) -> DatabaseError:
        sqlstate = (answer.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = (answer.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or answer.error_message).decode()
        if self.lost or not sqlstate or sqlstate.startswith(_UNUSABLE):
            return self._gone(message, sqlstate)
        return DatabaseError(message, sqlstate)

    def _gone(self, message: str, sqlstate: str = "") -> DatabaseError:
        self._connection.close()
        first = message.strip().splitlines()[:1]
        return DatabaseError(first[0] if first else "the connection was lost", sqlstate, lost=True)


def connect(url: str, *, busy_timeout_s: float = 5.0, durable: bool = True) -> PostgresConnection:
    """Connect and agree on how to work. LedgerError: the URL cannot be understood. DatabaseError: not now."""
    try:
        connection = psycopg.Connection.connect(url, autocommit=True, prepare_threshold=None, **_defaults(url))
    except psycopg.ProgrammingError as error:
        raise LedgerError("this URL cannot be understood; see docs/ledger.md") from error
    except psycopg.Error as error:
        raise DatabaseError(str(error).strip().splitlines()[0], error.sqlstate or "", lost=True) from error
    made = PostgresConnection(connection)
    milliseconds = int(busy_timeout_s * 1000)
    settings = {
        "lock_timeout": f"{milliseconds}",
        # A process that hangs inside a transaction must not keep its accounts from the others: they wait for longer.
        "idle_in_transaction_session_timeout": "3000",
        # Plans are made for batches: few rows by their keys. One that was made while a table was small stays right.
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",  # a plan that has to do it the forbidden way looks expensive enough to be compiled
        # A machine that has vanished: its connection, and with it its number, is given up soon.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "3",
        "tcp_keepalives_count": "3",
        "standard_conforming_strings": "on",
        "bytea_output": "hex",
        "DateStyle": "ISO",
    }
    statements: list[tuple[str, Values]] = [
        ("SELECT set_config(?, ?, false)", (name, value)) for name, value in settings.items()
    ]
    statements.append((_DURABLE if durable else _NOT_DURABLE, ()))
    try:
        made.exchange(statements)
    except DatabaseError:
        made.close()
        raise
    return made


def _defaults(url: str) -> dict[str, Any]:
    """Our options, except those that the URL has itself."""
    return {name: value for name, value in _OPTIONS.items() if f"{name}=" not in url}


def _ready(sql: str, values: Values) -> tuple[Translated, _Bound]:
    statement = translate(sql)
    return statement, _bound([values[name] for name in statement.names] if isinstance(values, Mapping) else values)


def _bound(values: Sequence[Any]) -> _Bound:
    data: list[bytes | None] = []
    types: list[int] = []
    formats: list[int] = []
    for value in values:
        if value is None:
            data.append(None)
            types.append(0)
            formats.append(0)
        elif isinstance(value, str):
            if "\0" in value:
                raise ValueError("a text with a NUL character cannot be kept")
            data.append(value.encode())
            types.append(_TEXT)
            formats.append(1)
        elif isinstance(value, int):
            data.append(b"%d" % value)
            types.append(_BIGINT)
            formats.append(0)
        elif isinstance(value, bytes):
            data.append(value)
            types.append(_BYTEA)
            formats.append(1)
        elif isinstance(value, float):
            data.append(repr(value).encode())
            types.append(_DOUBLE)
            formats.append(0)
        else:
            raise TypeError(f"the ledger keeps no {type(value).__name__}")
    return data, tuple(types), formats


def _result(answer: pq.abc.PGresult) -> Result:
    if answer.status != pq.ExecStatus.TUPLES_OK:
        return Result(None, [], answer.command_tuples or 0)
    columns = range(answer.nfields)
    readers = [_READERS.get(answer.ftype(column), _text) for column in columns]
    get = answer.get_value
    rows = [
        tuple([None if (value := get(row, column)) is None else readers[column](value) for column in columns])
        for row in range(answer.ntuples)
    ]
    return Result([(answer.fname(column) or b"").decode() for column in columns], rows, len(rows))


def _text(value: bytes) -> str:
    return value.decode()


def _number(value: bytes) -> int | float:
    """A sum of whole numbers is a ``numeric``."""
    return float(value) if b"." in value else int(value)


_READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: int(value == b"t"),  # a truth is a number, as SQLite has it
    _BYTEA: lambda value: bytes.fromhex(value[2:].decode()),
    _BIGINT: int,
    21: int,
    23: int,
    26: int,
    700: float,
    _DOUBLE: float,
    1700: _number,
}
