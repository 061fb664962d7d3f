"""What an upstream's refusal means for our client: statuses and error bodies → ``Upstreamed``. Pure.

Never in the message: the upstream's name, address, key or raw text. A 400 is the client's own fault and is told in the
upstream's words, scrubbed of URLs and keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from streamrouter.errors import Upstreamed

ERROR_BODY_BYTES = 64 * 1024
_IPV4 = r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"
_IPV6 = r"\b(?:[0-9a-f]{1,4}:){1,7}(?::[0-9a-f]{1,4})+\b|\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\b"
_URL = re.compile(rf"\b[a-z][a-z0-9+.-]*://\S+|{_IPV4}|{_IPV6}", re.I)
_KEYLIKE = re.compile(
    r"\b(?:sk|pk|fw|gsk|xai|key|org|proj)[-_][-_A-Za-z0-9*]{8,}|\bAIza[-_A-Za-z0-9*]{8,}"
    r"|\b[Bb]earer\s+\S+|\b[A-Za-z0-9_-]{32,}\b"
)
_encode = msgspec.json.Encoder().encode
_CLIENTS_FAULT = frozenset({400, 413, 422})


def scrub(text: str) -> str:
    """An upstream's sentence without URLs, addresses, keys and control characters, at most 500 characters."""
    text = _KEYLIKE.sub("[redacted]", _URL.sub("[redacted]", text))
    return "".join(c if c.isprintable() else " " for c in text)[:500]


def error_of(body: bytes) -> dict[str, Any]:
    """The ``error`` object of an OpenAI-shaped error body, {} if there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]  # Gemini wraps its error into a list
    error = value.get("error", value.get("detail")) if isinstance(value, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds of a Retry-After (delta form), at least 1 and at most an hour."""
    text = headers.get("retry-after", "").strip()
    try:
        return min(3600, max(1, -int(-float(text) // 1)))
    except (ValueError, OverflowError):
        return None


def refused(status: int, headers: Mapping[str, str], body: bytes) -> Upstreamed:
    """The verdict on a response that is not a 2xx."""
    if status in _CLIENTS_FAULT:
        return rejected(error_of(body))
    if status in (401, 402, 403):  # 402: the account that we have there is empty
        return Upstreamed(
            "upstream_auth", "The upstream refused this server's own credentials. The admin must fix them."
        )
    if status == 429:
        wait = retry_after(headers)
        return Upstreamed(
            "upstream_rate_limited",
            f"The upstream is rate-limited. Retry in {wait or 1} s.",
            retry_after_s=wait or 1,
        )
    if status in (408, 504):
        return Upstreamed("upstream_timeout", "The upstream did not answer in time. Retry.")
    return Upstreamed("upstream_invalid_response", f"The upstream failed with HTTP status {status}. Retry later.")


def rejected(error: Mapping[str, Any]) -> Upstreamed:
    """The upstream calls the request itself bad: the client's fault, told in the upstream's own, scrubbed words."""
    message, param = error.get("message"), error.get("param")
    told = scrub(message) if isinstance(message, str) and message else "The upstream rejected the request."
    return Upstreamed(
        "upstream_rejected", told, param=scrub(param)[:100] if isinstance(param, str) else None, fault=False
    )


def error_event(error: bytes) -> Upstreamed:
    """The verdict on an ``{"error": …}`` that came where a chunk or an answer was expected."""
    found = error_of(b'{"error":%b}' % error)
    code, kind = str(found.get("code")), str(found.get("type"))
    if code == "429" or "rate_limit" in code or "rate_limit" in kind:
        return Upstreamed("upstream_rate_limited", "The upstream is rate-limited. Retry in a moment.", retry_after_s=1)
    if code in ("400", "422") or kind == "invalid_request_error":
        return rejected(found)
    return Upstreamed("upstream_disconnected", "The upstream reported an error and ended the answer. Retry.")


def unusable(what: str) -> Upstreamed:
    """The upstream answered, but not with something that can be relayed: it may have worked for it."""
    return Upstreamed("upstream_invalid_response", f"The upstream's answer is unusable: {what}. Retry.", ambiguous=True)


def not_streamed(body: bytes) -> Upstreamed:
    """A 200 whose body is neither a stream nor a completion: an error is told as one, the rest is unusable (F28)."""
    error = error_of(body)
    if error:
        return error_event(_encode(error))
    return unusable("it is neither a stream nor a completion")
