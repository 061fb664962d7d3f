"""Rows of the books as plain JSON: accounts, keys, a day's usage. Amounts are strings, and so is what is above 2^53."""

from __future__ import annotations

from typing import Any

from streamrouter.admin.desk import number, when
from streamrouter.ledger.records import Account, Key, Usage
from streamrouter.policy.money import nano_to_usd

CAPS = (
    "input_per_request", "output_per_request", "daily_input", "daily_output", "requests_per_minute", "models",
    "unlimited",
)  # fmt: skip


def account_shown(account: Account) -> dict[str, Any]:
    """An account with its caps and its balance."""
    return {
        "id": account.id,
        "user": account.name,
        "status": account.status,
        **{cap: number(getattr(account, cap)) for cap in CAPS},
        "balance_usd": nano_to_usd(account.credited - account.spent),
        "spent_usd": nano_to_usd(account.spent),
        "reserved_usd": nano_to_usd(account.reserved),
        "created": when(account.created_ns),
    }


def key_shown(key: Key, user: str) -> dict[str, Any]:
    """A key as it may be shown: never its hash, never its secret."""
    return {
        "id": key.id,
        "user": user,
        "display": key.display,
        "surface": key.surface,
        "models": key.models,
        "concurrency": key.concurrency,
        "status": key.status,
        "in_flight": key.in_flight,
        "created": when(key.created_ns),
        "revoked": None if key.revoked_ns is None else when(key.revoked_ns),
        "expires": None if key.expires_ns is None else when(key.expires_ns),
        "replaces": key.replaces,
        "replaced_by": key.replaced_by,
    }


def usage_shown(usage: Usage) -> dict[str, Any]:
    """One account's day: tokens used, reserved and allowed; its money."""
    return {
        "user": usage.account,
        "day": usage.day,
        "input": {name: number(value) for name, value in usage.input.items()},
        "output": {name: number(value) for name, value in usage.output.items()},
        "balance_usd": nano_to_usd(usage.credited - usage.spent),
        "spent_usd": nano_to_usd(usage.spent),
        "reserved_usd": nano_to_usd(usage.reserved_usd),
        "in_flight": usage.in_flight,
        "unlimited": usage.unlimited,
    }
