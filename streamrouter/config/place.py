"""Where a ledger is: the path of an SQLite file, or the URL of a Postgres database, whose secrets are never shown.

A URL is libpq's (PostgreSQL, "Connection URIs"). What is shown of one is taken from a list of what may be seen, so that
a misspelt parameter or a password with odd characters hides too much and never too little.
"""

from __future__ import annotations

import hashlib
import re

_LONG = "postgresql://"
_SCHEME = re.compile(r"postgres(?:ql)?://")
_URL = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/\s]*))?@)?"
    r"(?P<hosts>[^@/?#\s]*)"
    r"(?:/(?P<database>[^@/?#\s]*))?"
    r"(?:\?(?P<query>[^#\s]*))?"
)
_WHICH = ("dbname", "host", "hostaddr", "options", "port", "user")  # parameters that decide which tables they are
_SEEN = (*_WHICH, "application_name", "connect_timeout", "sslmode", "sslrootcert", "target_session_attrs")


def is_database(place: str) -> bool:
    """Whether ``place`` is the URL of a database, and not the path of a file."""
    return _SCHEME.match(place) is not None


def fault_of(place: str) -> str:
    """What is wrong with it as a place for a ledger ("" if nothing). It may hold a password: it is not repeated."""
    if not is_database(place):
        return "expected a file's path, or a URL that begins with postgresql://" if "://" in place else ""
    if _URL.fullmatch(place) is None:
        return (
            "expected a URL such as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in a name or a password write %40 "
            "for @, %2F for /, %3A for :, %3F for ?, %23 for #, %25 for %"
        )
    return ""


def shown(place: str) -> str:
    """What may be printed and logged: a path as it is, a URL without its password and whatever else may be secret."""
    return _with(place, _SEEN) if is_database(place) else place


def holds_secret(place: str) -> bool:
    """Whether it must not be seen as it is."""
    return shown(place) != _SCHEME.sub(_LONG, place, count=1)


def identity(place: str) -> str:
    """16 hexadecimal digits by which the processes of one machine know that they mean the same database and user."""
    return hashlib.sha256(_with(place, _WHICH).encode()).hexdigest()[:16]


def _with(url: str, parameters: tuple[str, ...]) -> str:
    """The URL with these parameters and without its password."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return f"{_LONG}(not readable)"
    pairs = [pair for pair in (parts["query"] or "").split("&") if pair.partition("=")[0] in parameters]
    user = f"{parts['user']}@" if parts["user"] else ""
    database = f"/{parts['database']}" if parts["database"] else ""
    return f"{_LONG}{user}{parts['hosts']}{database}{'?' if pairs else ''}{'&'.join(pairs)}"
