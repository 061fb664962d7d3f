"""The machine: Python, SQLite, descriptors, the port, the clock. Each judge takes what was measured as arguments.

Only the standard library, and nothing newer than Python 3.8 knows: the first thing to be found is a wrong Python.
"""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
from collections.abc import Iterable

from streamrouter.cli.doctor.finding import Finding, ok, problem, warning

LEAST_PYTHON = (3, 11)
LEAST_SQLITE = (3, 24, 0)  # UPSERT
STRICT_SQLITE = (3, 37, 0)  # STRICT tables
_FEW_DESCRIPTORS = 1024
_MANY_DESCRIPTORS = 8192
_OWN_DESCRIPTORS = 64  # listeners, ledger, log, loop
_SKEW_S = 30.0
_SMALL_SKEW_S = 5.0


def python(version: tuple[int, ...], implementation: str) -> Finding:
    """``version``: sys.version_info; ``implementation``: sys.implementation.name."""
    shown = ".".join(map(str, version[:3]))
    if tuple(version[:2]) < LEAST_PYTHON:
        remedy = "install Python 3.11 or later and make a new environment with it: python3.12 -m venv .venv"
        return problem("python", f"Python {shown} is too old for streamrouter", remedy)
    if implementation != "cpython":
        return warning("python", f"{implementation} {shown}", "use CPython: the packages in use are built for it")
    return ok("python", f"Python {shown}")


def sqlite(version: tuple[int, ...], options: Iterable[str]) -> Finding:
    """The SQLite that Python's sqlite3 is linked to, and the options that it was compiled with."""
    shown = ".".join(map(str, version))
    if tuple(version) < LEAST_SQLITE:
        remedy = "use a Python with a newer SQLite: a current distribution's, or python.org's container images"
        return problem("sqlite", f"SQLite {shown} is older than 3.24, which the ledger needs", remedy)
    bad = sorted({"THREADSAFE=0", "OMIT_WAL", "OMIT_TRIGGER", "OMIT_FOREIGN_KEY"} & set(options))
    if bad:
        remedy = "use a Python whose SQLite is compiled without these options, such as the distribution's own"
        return problem("sqlite", f"SQLite {shown} is compiled with {', '.join(bad)}", remedy)
    if tuple(version) < STRICT_SQLITE:
        remedy = "it works; from 3.37 on the ledger's columns also check the types of their values"
        return warning("sqlite", f"SQLite {shown} knows no STRICT tables", remedy)
    return ok("sqlite", f"SQLite {shown}")


def sqlite_here() -> Finding:
    """``sqlite`` of this process."""
    connection = sqlite3.connect(":memory:")
    try:
        options = [row[0] for row in connection.execute("PRAGMA compile_options")]
    finally:
        connection.close()
    return sqlite(sqlite3.sqlite_version_info, options)


def descriptors(soft: int) -> Finding:
    """``soft``: the limit of open files. A stream needs two: its client's and its upstream's connection."""
    if soft < 0:
        return ok("descriptors", "no limit of open files")
    streams = max(0, soft - _OWN_DESCRIPTORS) // 2
    found = f"{soft:,} open files are allowed: {streams:,} streams at once"
    remedy = "raise it where the server is started: `ulimit -n 65536`, LimitNOFILE=65536 (systemd), --ulimit (Docker)"
    if soft < _FEW_DESCRIPTORS:
        return problem("descriptors", found, remedy)
    return warning("descriptors", found, remedy) if soft < _MANY_DESCRIPTORS else ok("descriptors", found)


def port(host: str, number: int, ours: bool) -> Finding:
    """Whether the server could listen there. ``ours``: it does."""
    where = f"{host}:{number}"
    if ours:
        return ok("port", f"{where}: the server runs")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except socket.gaierror:
            return problem("port", f"{host} is no address", "set server.host to an address of this machine, or 0.0.0.0")
        except OSError as error:
            return _taken(where, error)
    return ok("port", f"{where} is free")


def _taken(where: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        remedy = "stop the program that listens there (`ss -ltnp` names it), or set another server.port"
        return problem("port", f"{where} is taken by another program", remedy)
    if error.errno == errno.EACCES:
        remedy = "take a port from 1024 on, put a proxy in front, or allow it: AmbientCapabilities=CAP_NET_BIND_SERVICE"
        return problem("port", f"{where} may not be used by this user", remedy)
    if error.errno == errno.EADDRNOTAVAIL:
        return problem("port", f"{where}: no such address here", "set server.host to an address of this machine")
    return problem("port", f"{where}: {os.strerror(error.errno or 0)}", "set another server.host or server.port")


def clock(skew_s: float, source: str) -> Finding:
    """``skew_s``: how far the clock of ``source`` is ahead of ours; a Date header is good to a second or two."""
    found = f"{abs(skew_s):,.0f} s {'behind' if skew_s > 0 else 'ahead of'} {source}"
    remedy = "let the clock be set: `timedatectl set-ntp true`, or chrony; daily caps begin and end by it"
    if abs(skew_s) >= _SKEW_S:
        return problem("clock", f"this machine's clock is {found}", remedy)
    if abs(skew_s) >= _SMALL_SKEW_S:
        return warning("clock", f"this machine's clock is {found}", remedy)
    return ok("clock", f"as {source} has it")
