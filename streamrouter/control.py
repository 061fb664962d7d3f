"""The private control socket: how the command line works on the ledger of a running server.

One connection is one exchange: a JSON line ``{"verb": …, "args": {…}}`` in, a JSON line ``{"ok": …}`` or
``{"error": {"code", "message"}}`` out. The socket is 0600 (where it is, ops/meeting.py says), and where the system can
say who is at the other end, only the server's own user and root are answered. Size and time are limited on both sides.
The verb ``tail`` is answered with ``{"ok": …}`` and then a line for everything that the server logs, for as long as its
client stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from streamrouter.admin.desk import Pending, Streams
from streamrouter.admin.verbs import AdminError, Desk, StopStreams, perform
from streamrouter.config.place import shown
from streamrouter.config.schema import Config
from streamrouter.errors import LedgerError, StreamrouterError
from streamrouter.ledger.ledger import Ledger
from streamrouter.ops.logs import Log
from streamrouter.ops.meeting import possible_paths

_REQUEST_BYTES = 1024 * 1024  # an allow-list of a thousand long ids fits
_REPLY_BYTES = 64 * 1024 * 1024  # a list of a hundred thousand users fits
_REQUEST_TIMEOUT_S = 5.0  # a whole line from someone on this machine
_VERB_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0
_TAIL = "tail"
_CONNECTIONS = 64  # administrators are few; more than this is a loop gone wrong


class NotServing(StreamrouterError):
    """Nothing listens on the ledger's control socket."""


class ControlFault(StreamrouterError):
    """Something listens and did not give a usable answer; the message says whether the verb may have been done."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line in."""

    verb: str
    args: dict[str, Any] = {}


def call(ledger: str, verb: str, args: dict[str, Any]) -> Any:
    """Has the server of ``ledger`` carry out ``verb`` (blocking) → its result.

    Raises NotServing if none listens, AdminError for the verb's own refusal, ControlFault for anything in between.
    """
    with _connect(ledger) as connection:
        connection.settimeout(_VERB_TIMEOUT_S + _REQUEST_TIMEOUT_S)
        try:
            connection.sendall(msgspec.json.encode({"verb": verb, "args": args}) + b"\n")
            line = _read_line(connection)
        except TimeoutError:
            raise ControlFault("the server did not answer in time; look before you repeat: it may be done") from None
        except OSError as error:
            raise ControlFault(f"the connection to the server broke ({error.strerror}); it may be done") from None
    try:
        reply = msgspec.json.decode(line, type=dict[str, Any])
        if "ok" in reply:
            return reply["ok"]
        raise AdminError(str(reply["error"]["code"]), str(reply["error"]["message"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise ControlFault("the server closed without a usable answer; its log says why") from None


def follow(ledger: str) -> Iterator[dict[str, Any]]:
    """Every line that the servers of ``ledger`` on this machine log from now on, until the last one of them stops
    (blocking). Raises as ``call`` does."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as watched:
        for connection in _connections(ledger):
            stack.enter_context(connection)
            connection.settimeout(None)
            connection.sendall(msgspec.json.encode({"verb": _TAIL}) + b"\n")
            watched.register(connection, selectors.EVENT_READ, _Follower(connection))
        if not watched.get_map():
            raise _nobody(ledger)
        while watched.get_map():
            for key, _ in watched.select():
                follower: _Follower = key.data
                yield from follower.lines()
                if follower.over:
                    watched.unregister(key.fileobj)


class _Follower:
    """What comes from one server, cut into lines; the first one says whether it may be followed."""

    def __init__(self, connection: socket.socket) -> None:
        self.over = False
        self._connection = connection
        self._rest = b""
        self._follows = False

    def lines(self) -> Iterator[dict[str, Any]]:
        """What has come whole. AdminError: the server refuses."""
        try:
            piece = self._connection.recv(65536)
        except ConnectionResetError:  # killed
            piece = b""
        self.over = not piece
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            told = msgspec.json.decode(line, type=dict[str, Any])
            if self._follows:
                yield told
            elif "error" in told:
                raise AdminError(str(told["error"]["code"]), str(told["error"]["message"]))
            self._follows = True


class ControlServer:
    """Listens for as long as the server runs. Start it after the ledger is open (its lock makes the path ours)."""

    def __init__(
        self,
        path: str,
        ledger: Ledger,
        config_getter: Callable[[], Config],
        stop_streams: StopStreams | None = None,
        *,
        log: Log | None = None,
        streams: Streams | None = None,
        pending: Pending | None = None,
        request_timeout_s: float = _REQUEST_TIMEOUT_S,
        verb_timeout_s: float = _VERB_TIMEOUT_S,
    ) -> None:
        """``path`` is a ``socket_path``; ``config_getter`` gives the configuration in force at each exchange.

        ``log``: what ``tail`` follows.
        """
        self.path = path
        self._ledger = ledger
        self._config = config_getter
        self._stop_streams = stop_streams
        self._log = log
        self._streams = streams
        self._pending = pending
        self._request_timeout_s = request_timeout_s
        self._verb_timeout_s = verb_timeout_s
        self._server: asyncio.Server | None = None
        self._exchanges: set[asyncio.Task[Any]] = set()
        self._followers: set[asyncio.Task[Any]] = set()
        self._inode = 0

    async def start(self) -> None:
        """Takes the path (a stale socket is replaced) and listens. LedgerError if something else stands there."""
        listener = _bind(self.path)
        self._inode = os.lstat(self.path).st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_REQUEST_BYTES)

    async def close(self) -> None:
        """Stops listening, lets running verbs end (5 s), and removes the socket. A second call does nothing."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        for task in self._followers:
            task.cancel()
        if self._exchanges:
            _, late = await asyncio.wait(self._exchanges, timeout=_CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._exchanges.add(task)
        try:
            request = await self._request(reader, writer)
            if isinstance(request, Request) and request.verb == _TAIL:
                self._followers.add(task)
                await self._tail(reader, writer)
                return
            reply = await self._perform(request) if isinstance(request, Request) else request
            writer.write(msgspec.json.encode(reply) + b"\n")
            with contextlib.suppress(OSError):  # gone, or too slow: what was asked for is done and in the audit
                async with asyncio.timeout(self._request_timeout_s):
                    await writer.drain()
        finally:
            self._exchanges.discard(task)
            self._followers.discard(task)
            writer.close()

    async def _tail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything that is logged, until the other end leaves or is too slow for that long."""
        if self._log is None:
            writer.write(msgspec.json.encode(_error("unknown_verb", "there is no log to follow here")) + b"\n")
            return
        tail = self._log.subscribe()
        left = asyncio.ensure_future(reader.read(1))
        try:
            writer.write(b'{"ok":{"following":true}}\n')
            while not left.done():
                came = asyncio.ensure_future(tail.wait())
                try:
                    await asyncio.wait({came, left}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    came.cancel()  # does nothing to what is done
                if came.cancelled() or not came.done():
                    return
                writer.write(b"".join(msgspec.json.encode(line) + b"\n" for line in came.result()))
                async with asyncio.timeout(self._verb_timeout_s):
                    await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            left.cancel()
            self._log.unsubscribe(tail)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | dict[str, Any]:
        """What is asked, or the error to answer with."""
        if len(self._exchanges) > _CONNECTIONS:
            return _error("overloaded", f"more than {_CONNECTIONS} control connections at once; try again")
        if not _trusted(writer.get_extra_info("socket")):
            return _error("forbidden", "only the server's own user and root may administer it")
        try:
            async with asyncio.timeout(self._request_timeout_s):
                return msgspec.json.decode(await reader.readline(), type=Request)
        except TimeoutError:
            return _error("bad_request", f"no whole line within {self._request_timeout_s:g} s")
        except OSError:
            return _error("bad_request", "the connection broke")
        except msgspec.DecodeError as error:
            return _error("bad_request", f"not a request: {error}")
        except ValueError:  # what StreamReader.readline makes of a line above its limit
            return _error("bad_request", f"a request is one line of at most {_REQUEST_BYTES} bytes")

    async def _perform(self, request: Request) -> dict[str, Any]:
        config, stop, streams = self._config(), self._stop_streams, self._streams
        desk = Desk(self._ledger, config, stop, streams=streams, pending=self._pending)
        try:
            async with asyncio.timeout(self._verb_timeout_s):
                return {"ok": await perform(desk, request.verb, request.args)}
        except AdminError as error:
            return _error(error.code, error.message)
        except TimeoutError:
            return _error("ledger_unavailable", f"not done in {self._verb_timeout_s:g} s; look before you repeat")


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _bind(path: str) -> socket.socket:
    """A socket at ``path``, 0600 before it listens: nobody can connect to it in between."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise LedgerError(f"{path} is in the way of the control socket and is no socket; move it away")
            os.unlink(path)  # stale: the ledger's lock is ours, so no server that uses it is alive
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise LedgerError(f"cannot make the control socket {path}: {error.strerror}") from error
    except LedgerError:
        listener.close()
        raise
    return listener


def _trusted(connection: Any) -> bool:
    peer = peer_uid(connection.fileno())
    return peer is None or peer in (0, os.getuid())


def peer_uid(descriptor: int) -> int | None:
    """The user at the other end of a Unix socket, or None where the system does not tell (there 0600 guards it)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    # A duplicate: uvloop's sockets have no getsockopt of their own.
    with socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as duplicate:
        _pid, uid, _gid = struct.unpack("3i", duplicate.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(uid)


def _connect(ledger: str) -> socket.socket:
    """A connection to whoever serves ``ledger``, at the first of its possible paths that answers."""
    for connection in _connections(ledger):
        return connection
    raise _nobody(ledger)


def _nobody(ledger: str) -> NotServing:
    return NotServing(f"no server of {shown(ledger)} is listening")


def _connections(ledger: str) -> Iterator[socket.socket]:
    """A connection to each server of ``ledger`` on this machine. Raises ControlFault for one that is not to be told."""
    for path, owners in possible_paths(ledger):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_REQUEST_TIMEOUT_S)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
            continue
        except OSError as error:
            connection.close()
            raise ControlFault(f"cannot reach the server at {path}: {error.strerror or error}") from None
        if (owner := peer_uid(connection.fileno())) is not None and owner not in owners:
            connection.close()
            raise ControlFault(f"{path} is held by another user (uid {owner}); it is told nothing")
        yield connection


def _read_line(connection: socket.socket) -> bytes:
    """Everything up to the newline or the end, at most 64 MiB."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < _REPLY_BYTES and (piece := connection.recv(65536)):
        line += piece
    return bytes(line)
