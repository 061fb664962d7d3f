"""Whom a load asks, and what: an address and the bytes of a chat completion request."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson

PROMPT = (
    "You are a concise assistant. Answer in one paragraph, without headings.\n\n"
    "We run a small bakery and want to move our orders from paper to a tablet. Three people take orders, two of them "
    "only on Saturdays. Which steps would you take first, what could go wrong in the first week, and how would you "
    "find out early that it does?"
)


class Target(msgspec.Struct, frozen=True):
    """Where to connect, and the request's bytes."""

    host: str
    port: int
    tls: bool
    request: bytes
    stream: bool

    def context(self, *, ca: str | None = None, insecure: bool = False) -> ssl.SSLContext | None:
        """The TLS context for https. ``ca``: a file of certificates to trust; ``insecure``: none is checked."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=ca)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def call_body(model: str, *, prompt: str = PROMPT, stream: bool, max_tokens: int | None, usage: bool = True) -> bytes:
    """The body of a chat completion. ``usage``: ask for the usage at the end of a stream."""
    system, found, user = prompt.partition("\n\n")
    parts = [("system", system), ("user", user)] if found else [("user", prompt)]
    call: dict[str, Any] = {"model": model, "messages": [{"role": role, "content": text} for role, text in parts]}
    call["temperature"] = 0.7
    call["stream"] = stream
    if stream and usage:
        call["stream_options"] = {"include_usage": True}
    if max_tokens is not None:
        call["max_tokens"] = max_tokens
    return orjson.dumps(call)


def target(
    base_url: str, body: bytes, *, stream: bool, key: str = "", headers: Mapping[str, str] | None = None
) -> Target:
    """The target behind an OpenAI base URL (its ``/v1`` included).

    Raises ValueError for an address that is neither http nor https.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{base_url!r} is not an http or https address")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    fields = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": "streamrouter-bench",
        "Accept": "text/event-stream" if stream else "application/json",
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {key}"} if key else {}),
        **(headers or {}),
        "Content-Length": str(len(body)),
    }
    head = f"POST {parts.path.rstrip('/')}/chat/completions HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return Target(parts.hostname, port, tls, head.encode("latin-1") + body, stream)
