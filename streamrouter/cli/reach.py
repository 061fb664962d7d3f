"""How a command reaches the ledger: through a server of this machine that has it open, else by opening it itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from streamrouter.admin.verbs import AdminError, Desk, perform
from streamrouter.cli.options import Options, Refused, Unreachable
from streamrouter.clock import SystemClock
from streamrouter.config.expand import read_secret
from streamrouter.config.load import Loaded, load
from streamrouter.config.place import fault_of, is_database, shown
from streamrouter.config.schema import Config
from streamrouter.control import ControlFault, NotServing, call
from streamrouter.errors import ConfigError, LedgerError, NoLedger
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.lock import holder

_MAKE_A_LEDGER = ("user.create", "admin.create")  # the others would only find an empty one
T = TypeVar("T")
Ask = Callable[[str, dict[str, Any]], Any]
_LOCK_WAIT_S = 2.0
_LOCK_RETRY_S = 0.05


@contextlib.contextmanager
def expected_faults(options: Options, *, ledger: type[Refused] = Unreachable) -> Iterator[None]:
    """Turns what may go wrong into a failure with its exit code. Anything else is a fault of ours and stays one.

    ``ledger``: what a ledger that cannot be opened is (a server that cannot start has exit code 1).
    """
    as_json = options.as_json
    try:
        yield
    except ConfigError as error:
        raise Refused("config_invalid", str(error), as_json=as_json, faults=str(error).splitlines()) from error
    except AdminError as error:
        kind = Unreachable if error.code in ("ledger_unavailable", "overloaded") else Refused
        raise kind(error.code, error.message, as_json=as_json) from error
    except ControlFault as error:
        raise Unreachable("server_unreachable", str(error), as_json=as_json) from error
    except LedgerError as error:
        raise ledger("ledger_unavailable", str(error), as_json=as_json) from error
    except BrokenPipeError:  # whoever read our output has seen enough: click ends without a word
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Refused("os_error", f"{where}{error.strerror or error}", as_json=as_json) from error


def load_config(options: Options, **overrides: Any) -> Loaded:
    """The configuration that the options, the environment and the file make together. Raises ConfigError."""
    return load(options.config, os.environ, options.overrides() | overrides)


def named_ledger(options: Options) -> str:
    """The ledger that the command line or the environment names, "" if neither does. Raises ConfigError."""
    named = options.ledger or os.environ.get("STREAMROUTER_LEDGER") or ""
    return place_of(named)


def place_of(text: str) -> str:
    """A path or a URL that was written out, or as ``file:NAME`` with the file that holds it. Raises ConfigError."""
    found = read_secret(text, Path(), _refuse)
    if fault := fault_of(found):
        _refuse(fault)
    return found


def _refuse(fault: str) -> None:
    raise ConfigError(f"ledger: {fault}")


def ledger_of(options: Options) -> str:
    """The ledger of this command line, a path or a URL. Raises ConfigError."""
    return named_ledger(options) or load_config(options).config.ledger.path


def carry_out(options: Options, verb: str, args: dict[str, Any]) -> Any:
    """The result of an administration verb (admin/), wherever it is carried out. Raises Refused."""
    with expected_faults(options):
        named = named_ledger(options)
        if named:  # a running server knows its own configuration: ours need not even be loadable here
            with contextlib.suppress(NotServing):
                return call(named, verb, args)
        return _there_or_here(load_config(options).config, verb, args)


@contextlib.contextmanager
def session(options: Options) -> Iterator[Ask]:
    """For many verbs in a row: a file that no server has is opened once, and not for each of them. Raises Refused."""
    with expected_faults(options):
        path = ledger_of(options)
        try:
            call(path, "status", {})
        except NotServing:
            config = load_config(options).config
            with asyncio.Runner() as runner:
                desk = runner.run(_patiently_opened(config))
                try:
                    yield lambda verb, args: runner.run(perform(desk, verb, args))
                finally:
                    runner.run(desk.ledger.close())
        else:
            yield partial(call, path)


def alone(options: Options, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """What ``work`` makes of the ledger while no server has it. Raises Refused: a file's server is named."""
    with expected_faults(options), asyncio.Runner() as runner:
        desk = runner.run(_patiently_opened(load_config(options).config))
        try:
            return runner.run(_awaited(work(desk.ledger)))
        finally:
            runner.run(desk.ledger.close())


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _patiently_opened(config: Config) -> Desk:
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            return await _opened(config)
        except LedgerError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_LOCK_RETRY_S)


def _there_or_here(config: Config, verb: str, args: dict[str, Any]) -> Any:
    """Through the server, else in this process. Another command may have the lock for a moment, or a server that is
    still starting: both are given a little time."""
    path = config.ledger.path
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        with contextlib.suppress(NotServing):
            return call(path, verb, args)
        try:
            return asyncio.run(_here(config, verb, args))
        except LedgerError as error:
            if not isinstance(error.__cause__, BlockingIOError):  # anything but the lock
                raise
            if time.monotonic() > deadline:
                raise LedgerError(_held(path)) from error
        time.sleep(_LOCK_RETRY_S)


def _held(path: str) -> str:
    by = holder(os.path.realpath(path))
    pid = by.pid if by is not None and by.pid else "unknown"
    return f"{path} is held by another process (pid {pid}), and no server of it answers; wait for it to end, or stop it"


async def _here(config: Config, verb: str, args: dict[str, Any]) -> Any:
    """In this process. It takes a file's lock, so that a server that starts is told our pid; a database is shared."""
    desk = await _opened(config, make=verb in _MAKE_A_LEDGER)
    try:
        return await perform(desk, verb, args)
    finally:
        await desk.ledger.close()


async def _opened(config: Config, *, make: bool = False) -> Desk:
    path = config.ledger.path
    try:
        if not make and not is_database(path) and not os.path.exists(path):
            raise NoLedger(path)
        ledger = await Ledger.open(path, config=config.ledger, clock=SystemClock(), on_fatal=_stopped, make=make)
    except NoLedger as error:
        there_is_none = f"there is no ledger {shown(path)}; `streamrouter user create NAME` makes one"
        raise AdminError("not_found", there_is_none) from error
    return Desk(ledger, config)


def _stopped(why: str) -> None:
    """A ledger that must stop refuses whatever still waits, with the reason: the verb ends by that."""
