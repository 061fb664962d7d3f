"""What a reload would change: which keys, which of them need a restart, and the configuration that is then in force.

Values are never told, only the paths of keys: a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from streamrouter.config.locate import Path, dotted
from streamrouter.config.schema import Config

# What a running process cannot take over: sockets are bound, the books are open, a span goes on as it began.
RESTART: tuple[Path, ...] = (
    ("server", "host"),
    ("server", "port"),
    ("server", "idle_timeout_s"),
    ("server", "stalled_client_s"),
    ("server", "http2"),
    ("server", "resume_window_s"),
    ("server", "resume_buffer_bytes"),
    ("server", "max_waiting_requests"),
    ("server", "metrics_host"),
    ("server", "metrics_port"),
    ("ledger",),
    ("log", "format"),
    ("log", "file"),
    ("tracing",),
)


class Changes(Struct, frozen=True):
    """Paths of keys, in the order of the schema: what is taken over, and what waits for a restart."""

    taken: list[str]
    restart: list[str]

    def __bool__(self) -> bool:
        return bool(self.taken or self.restart)


def changes(old: Config, new: Config) -> Changes:
    """What differs between the configuration in force and another one."""
    waiting = _waiting(old, new)
    taken: list[str] = []
    restart: list[str] = []
    for path in _differences(old, new):
        waits = any(path[: len(fixed)] == fixed for fixed in waiting)
        (restart if waits else taken).append(dotted(path))
    return Changes(taken, restart)


def in_force(old: Config, new: Config) -> Config:
    """``new``, with everything that needs a restart as it is in ``old``."""
    for path in _waiting(old, new):
        new = _kept(old, new, path)
    return new


def _waiting(old: Config, new: Config) -> tuple[Path, ...]:
    """Whether TLS is spoken is decided at the start; a server that speaks it may be given other files."""
    switched = bool(old.server.tls_cert) != bool(new.server.tls_cert)
    return (*RESTART, ("server", "tls_cert"), ("server", "tls_key")) if switched else RESTART


def _kept(old: Any, new: Any, path: Path) -> Any:
    name, *rest = path
    value = getattr(old, str(name))
    if rest:
        value = _kept(value, getattr(new, str(name)), tuple(rest))
    return msgspec.structs.replace(new, **{str(name): value})


def _differences(old: Any, new: Any, path: Path = ()) -> Iterator[Path]:
    """The deepest paths that differ: down through Structs, tables and lists of Structs of one length."""
    if isinstance(old, Struct) and type(old) is type(new):
        for name in old.__struct_fields__:
            yield from _differences(getattr(old, name), getattr(new, name), (*path, name))
    elif isinstance(old, dict) and isinstance(new, dict) and _holds_structs(old) and _holds_structs(new):
        for name in [*old, *(name for name in new if name not in old)]:
            if name in old and name in new:
                yield from _differences(old[name], new[name], (*path, name))
            else:
                yield (*path, name)
    elif isinstance(old, list) and isinstance(new, list) and _by_number(old, new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, (*path, number))
    elif old != new:
        yield path


def _holds_structs(table: dict[Any, Any]) -> bool:
    return all(isinstance(value, Struct) for value in table.values())


def _by_number(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and all(isinstance(value, Struct) for value in [*old, *new])
