"""The modules that work with Postgres: their driver is an extra, so they are imported only where a database is used."""

from __future__ import annotations

import importlib
from typing import Any

from streamrouter.errors import LedgerError


def postgres(name: str) -> Any:
    """``ledger/postgres/NAME.py``. LedgerError where the driver is not installed."""
    try:
        return importlib.import_module(f"streamrouter.ledger.postgres.{name}")
    except ImportError as error:
        raise LedgerError(
            "a ledger in Postgres needs the driver psycopg; install it: pip install 'streamrouter[postgres]'"
        ) from error
