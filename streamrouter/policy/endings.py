"""How a request ended, and how well its usage is known: the one value that a settlement takes.

The table is docs/ledger.md's "what is charged". ``Source`` says where the numbers come from; ``reason`` why it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Source = Literal["upstream", "local", "suspect", "abort", "ambiguous", "partial", "recovered", "none"]


class Ending(Struct, frozen=True, kw_only=True):
    """What a request came to. Tokens are what was really used; the ledger charges ``min(actual, reserved)``.

    ``released``: provably nothing was sent or billed (tokens are 0). ``whole_hold``: charge all that is reserved
    (an answer above the size limit, a bound that was hit), whatever ``output_tokens`` says.
    """

    reason: str  # finished, length, client_left, upstream_*, server_shutdown, ledger_unavailable, ... : a log field
    source: Source
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    released: bool = False
    whole_input: bool = False
    whole_output: bool = False
    upstream: str = ""  # who served it, for the record
    ttft_ms: int | None = None
    duration_ms: int = 0
    gap_p99_ms: int | None = None  # between two reads of a stream that brought events; None below two reads
    events: int = 0
    answer_ms: int | None = None  # when the upstream's 200 came, of a stream
    attempts: Sequence[tuple[str, str]] = ()  # upstreams in turn, each with ``ok`` or an error code


def released(
    reason: str, *, upstream: str = "", duration_ms: int = 0, attempts: Sequence[tuple[str, str]] = ()
) -> Ending:
    """Nothing was sent or billed: the hold is given back whole."""
    return Ending(
        reason=reason, source="none", released=True, upstream=upstream, duration_ms=duration_ms, attempts=attempts
    )
