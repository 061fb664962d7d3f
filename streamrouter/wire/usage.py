"""An upstream's usage object, read with suspicion and brought to one shape: cached ⊂ input, reasoning ⊂ output."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

MOST_TOKENS = 2**31


class Usage(Struct, frozen=True):
    """Tokens as the upstream reports them, normalised."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _count(value: Any) -> int:
    """A token count, or -1 for whatever is none (bool, float, string, negative, above 2^31)."""
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else -1


def _detail(members: dict[str, Any], group: str, name: str) -> int:
    details = members.get(group)
    return max(0, _count(details.get(name))) if isinstance(details, dict) else 0


def read_usage(raw: Raw) -> Usage | None:
    """None if the object is insane: not an object, or a count that is missing, negative, no integer, above 2^31."""
    try:
        members = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    prompt, completion = _count(members.get("prompt_tokens")), _count(members.get("completion_tokens"))
    if prompt < 0 or completion < 0:
        return None
    cached = _detail(members, "prompt_tokens_details", "cached_tokens") or max(
        0, _count(members.get("prompt_cache_hit_tokens"))
    )
    reasoning = _detail(members, "completion_tokens_details", "reasoning_tokens")
    if reasoning and _count(members.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning  # xAI and Gemini count reasoning beside the completion; OpenAI inside it
    return Usage(prompt, completion, min(cached, prompt), min(reasoning, completion))


def usage_json(usage: Usage) -> Raw:
    """OpenAI's shape, for usage that is asked for and that we counted ourselves."""
    return Raw(
        msgspec.json.encode(
            {
                "prompt_tokens": usage.input,
                "completion_tokens": usage.output,
                "total_tokens": usage.input + usage.output,
                "prompt_tokens_details": {"cached_tokens": usage.cached},
                "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
            }
        )
    )
