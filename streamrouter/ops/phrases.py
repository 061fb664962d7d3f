"""A finished request in one short line for a terminal; the JSON line has every field under its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the line begins with.
_HEADLINE = ("status", "model", "upstream", "end")
# What is said in words of its own, and not as key=value.
_SPOKEN = {
    *_HEADLINE,
    "ttft_ms",
    "gap_p99_ms",
    "duration_ms",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "usage_source",
    "user",
    "key",
    "surface",
    "id",
}


def request_phrase(fields: Mapping[str, Any]) -> tuple[str, str]:
    """The headline (``200 gpt-4.1 openai finished``) and the rest of a request's line. ``fields`` are clean."""
    headline = " ".join(str(fields[name]) for name in _HEADLINE if fields.get(name) not in (None, ""))
    parts = [
        *_times(fields),
        *_usage(fields),
        " ".join(str(fields[name]) for name in ("user", "key") if fields.get(name)),
        str(fields.get("id", "")),
        *(f"{name}={value}" for name, value in fields.items() if name not in _SPOKEN),
    ]
    return headline, "  ".join(part for part in parts if part)


def _times(fields: Mapping[str, Any]) -> list[str]:
    named = (("ttft_ms", "ttft "), ("gap_p99_ms", "gap "), ("duration_ms", ""))
    return [word + _span(fields[name]) for name, word in named if isinstance(fields.get(name), int)]


def _span(ms: int) -> str:
    return f"{ms}ms" if ms < 1000 else f"{ms / 1000:.2f}s"


def _usage(fields: Mapping[str, Any]) -> list[str]:
    if "input_tokens" not in fields:
        return []
    cached = fields.get("cached_tokens")
    tokens = f"{fields['input_tokens']}+{fields.get('output_tokens', 0)} tok" + (
        f" ({cached} cached)" if cached else ""
    )
    source, cost = fields.get("usage_source", "upstream"), str(fields.get("cost_usd", "0"))
    told = [tokens] if source == "upstream" else [f"{tokens}, {source}"]
    return [*told, f"${cost}"] if cost.strip("0.") else told
