"""What the doctor says about one thing. Only the standard library: it must work where nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True)
class Finding:
    """``check``: what was looked at. ``found``: what is so. ``remedy``: what to do, where something is not right."""

    check: str
    state: State
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """It works, and may hurt."""
    return Finding(check, "warning", found, remedy)


def problem(check: str, found: str, remedy: str) -> Finding:
    """It does not work, or will not for long."""
    return Finding(check, "problem", found, remedy)
