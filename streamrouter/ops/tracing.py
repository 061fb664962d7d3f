"""Traces: one span per request, as whoever serves sees it. OpenTelemetry itself is behind it (ops/otel.py).

Its packages are an extra and cost 0.3 s to import, so they are imported only where tracing is switched on. What a
request costs without it is one look at ``None``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from streamrouter.errors import ConfigError

_MODULE = "streamrouter.ops.otel"


class Begun(Struct, frozen=True, kw_only=True):
    """An admitted request that is about to be forwarded. ``parent``: the client's ``traceparent``, or ""."""

    id: str
    parent: str
    began_ns: int  # Unix time
    surface: str
    model: str
    max_tokens: int  # per choice, as it is sent upstream
    choices: int
    stream: bool


class Ended(Struct, frozen=True, kw_only=True):
    """What it came to. ``failed``: the reason is an error's code. Tokens are the charged ones."""

    id: str
    reason: str
    failed: bool
    upstream: str
    source: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: str
    ttft_ms: int | None
    duration_ms: int


class Tracing(Protocol):
    """Where spans go. Calls are on the loop, in the order begin, fault …, ended; none of them waits or raises."""

    def begin(self, request: Begun) -> str:
        """A span begins; the ``traceparent`` that the upstream is sent ("": none)."""

    def fault(self, request_id: str, upstream: str, code: str) -> None:
        """An attempt at an upstream failed."""

    def ended(self, end: Ended) -> None:
        """The request was settled."""

    def refused(self, request_id: str, code: str, parent: str) -> None:
        """A request was refused before it began (otherwise its end tells)."""

    def close(self) -> None:
        """Send what waits (blocking, some seconds at most)."""


def open_tracing(environ: Mapping[str, str]) -> Tracing:
    """What the standard ``OTEL_*`` variables describe. Raises ConfigError where the extra is not installed."""
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("opentelemetry"):
            raise
        what = "needs OpenTelemetry: pip install 'streamrouter[otel]', or leave it off"
        raise ConfigError(f"tracing.enabled: {what}") from None
    opened: Tracing = module.open_tracing(environ)
    return opened
