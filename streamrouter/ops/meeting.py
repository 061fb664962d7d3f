"""Where the command line and the servers of a ledger meet: the paths of their private sockets.

A file has one server, and its socket stands beside it. A database has as many as are wanted: each has a socket of its
own in a private directory, named by the database (without its password) and by the server's boot number there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from streamrouter.config.place import identity, is_database
from streamrouter.errors import LedgerError

_LONGEST_PATH = 100  # bytes; sockaddr_un holds 108 on Linux, 104 on BSD and macOS, the final zero included
_LEFT_BEHIND_S = 60.0  # a younger socket that refuses may be one that is about to listen
SERVICE = Path("/run/streamrouter")  # what systemd makes of RuntimeDirectory= in our unit

Place = tuple[str, set[int]]  # a path, and whose server it may be


def socket_path(ledger: str, boot: int = 0) -> str:
    """Where the server of ``ledger`` listens: beside the file, or in a private directory (a database, a long path).

    Raises LedgerError if the private directory is not ours alone.
    """
    if is_database(ledger):
        directory = _made(_own_directories()[0])
        _sweep(directory, identity(ledger))
        return str(directory / f"{identity(ledger)}.{boot}.sock")
    beside = _beside(ledger)
    if len(os.fsencode(beside)) <= _LONGEST_PATH:
        return beside
    return str(_made(_runtime_directories(os.getuid())[0]) / _hashed(beside))


def possible_paths(ledger: str) -> list[Place]:
    """Where servers of ``ledger`` may listen, the likeliest first; ours, root's, or those of the file's owner.

    A server's environment need not be ours (a service and a shell), so each directory it may have chosen is tried.
    """
    owners = {os.getuid(), 0}
    if is_database(ledger):
        return list(_of_database(identity(ledger), owners))
    beside = _beside(ledger)
    with contextlib.suppress(OSError):
        owners.add(os.stat(ledger).st_uid)
    if len(os.fsencode(beside)) <= _LONGEST_PATH:
        return [(beside, owners)]
    directories = [directory for owner in sorted(owners) for directory in _runtime_directories(owner)]
    return [(str(directory / _hashed(beside)), owners) for directory in directories if _private(directory, owners)]


def _of_database(name: str, owners: set[int]) -> Iterator[Place]:
    directories = [*_own_directories(), *_runtime_directories(0)]
    if os.getuid() == 0:  # only root can have made it: whoever it was given to is the service's user
        directories.append(SERVICE)
        with contextlib.suppress(OSError):
            owners = owners | {os.stat(SERVICE).st_uid}
    for directory in dict.fromkeys(directories):
        if _private(directory, owners):
            found = sorted(directory.glob(f"{name}.*.sock"), key=lambda path: -os.lstat(path).st_mtime)
            yield from ((str(path), owners) for path in found)


def _made(directory: Path) -> Path:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    if not _private(directory, {os.getuid()}):
        raise LedgerError(f"{directory} must be a directory of yours with mode 0700; remove it or set XDG_RUNTIME_DIR")
    return directory


def _sweep(directory: Path, name: str) -> None:
    """Remove the sockets of servers that died."""
    for path in directory.glob(f"{name}.*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if time.time() - os.lstat(path).st_mtime > _LEFT_BEHIND_S:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    os.unlink(path)


def _beside(ledger: str) -> str:
    return os.path.realpath(ledger) + ".sock"  # whatever links lead to it, the ledger is one


def _hashed(beside: str) -> str:
    return hashlib.sha256(os.fsencode(beside)).hexdigest()[:16] + ".sock"


def _own_directories() -> list[Path]:
    """What a service manager gave to us (if it is private), then what any user has."""
    uid = os.getuid()
    given = [Path(each) for each in os.environ.get("RUNTIME_DIRECTORY", "").split(":") if each]
    return [*(each for each in given if _private(each, {uid})), *_runtime_directories(uid)]


def _runtime_directories(uid: int) -> list[Path]:
    """Per-user directories for a socket whose own place is too long, best first; all of them short."""
    roots = [os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}", "/run", tempfile.gettempdir(), "/tmp"]
    usable = [root for root in roots if root and len(os.fsencode(root)) < 54 and os.access(root, os.W_OK | os.X_OK)]
    return [Path(root) / f"streamrouter-{uid}" for root in dict.fromkeys(usable)]


def _private(directory: Path, owners: set[int]) -> bool:
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in owners and stat.S_IMODE(found.st_mode) & 0o077 == 0
