"""Calling an upstream once, as cheaply as a stream can be: does it answer, is the key right, how long is its TTFT.

Used by ``check --probe`` and ``doctor``. What an upstream says about itself is scrubbed of addresses and keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from msgspec import Struct

from streamrouter.config.schema import Config, UpstreamConfig
from streamrouter.policy.catalog import Catalog
from streamrouter.upstream.verdicts import error_of, scrub

TIMEOUT_S = 15.0
_TOKENS = 16  # enough for a first token, and cheap
_MOST_BYTES = 64 * 1024


class Probe(Struct, frozen=True, kw_only=True):
    """What one upstream came to. ``kind`` is "ok", or what is wrong; ``skew_s``: its clock less ours, if it told."""

    upstream: str
    model: str | None
    kind: str
    status: int | None = None
    ttft_ms: int | None = None
    detail: str = ""
    remedy: str = ""
    skew_s: float | None = None

    @property
    def ok(self) -> bool:
        """It answered, and took the key."""
        return self.kind == "ok"


_REMEDIES = {
    "unreachable": "check base_url, the name, the port, the firewall, and that the upstream runs",
    "certificate": "its certificate is not trusted here: check the name in base_url, or install the CA's certificate",
    "timeout": "it takes connections and does not answer; look at the upstream, or at what stands in between",
    "wrong_key": "set api_key to a key of this upstream: ${NAME} of the environment, or file:PATH",
    "no_money": "the upstream wants to be paid first: top up the account that the key belongs to",
    "not_found": "base_url must include its /v1, and the model must have this name there (upstream_model, targets)",
    "busy": "the upstream limits this key for now; try again later",
    "refused": "the upstream does not take this request; see its words",
    "failing": "the upstream itself fails; look at its status page or its log",
    "not_streaming": "something answers there, but not with a stream of events; check base_url",
}
_BY_STATUS = {401: "wrong_key", 403: "wrong_key", 402: "no_money", 404: "not_found", 405: "not_found", 429: "busy"}


async def probe_all(config: Config) -> list[Probe]:
    """Every upstream of the (resolved) configuration, all at the same time."""
    models = _models_by_upstream(config)
    return await asyncio.gather(*(probe(name, up, models.get(name)) for name, up in config.upstreams.items()))


async def probe(name: str, upstream: UpstreamConfig, model: str | None, timeout_s: float = TIMEOUT_S) -> Probe:
    """Ask ``upstream`` for a few tokens of ``model`` (None: for its list of models)."""
    if upstream.base_url.startswith("demo:"):
        return Probe(upstream=name, model=model, kind="ok", detail="built in")
    try:
        async with asyncio.timeout(timeout_s), aiohttp.ClientSession(trust_env=False) as session:
            return await _ask(session, name, upstream, model)
    except TimeoutError:
        kind, detail = "timeout", f"no answer within {timeout_s:g} s"
    except aiohttp.ClientConnectorCertificateError as error:
        kind, detail = "certificate", scrub(str(error.certificate_error))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        strerror = getattr(cause, "strerror", None)
        kind, detail = "unreachable", scrub(strerror or type(cause).__name__)
    return Probe(upstream=name, model=model, kind=kind, detail=detail, remedy=_REMEDIES[kind])


async def _ask(session: aiohttp.ClientSession, name: str, upstream: UpstreamConfig, model: str | None) -> Probe:
    headers = {"Accept-Encoding": "identity", **upstream.headers}
    if upstream.api_key:
        headers.setdefault("Authorization", f"Bearer {upstream.api_key}")
    began = time.monotonic()
    if model is None:
        asking = session.get(f"{upstream.base_url}/models", headers=headers, allow_redirects=False)
    else:
        url = f"{upstream.base_url}/chat/completions"
        asking = session.post(url, headers=headers, json=_request(upstream, model), allow_redirects=False)
    async with asking as response:
        skew_s = skew_of(response.headers, time.time())
        if response.status != 200:
            kind = _BY_STATUS.get(response.status, "failing" if response.status >= 500 else "refused")
            said = error_of(await response.content.read(_MOST_BYTES)).get("message")
            detail = f"{response.status}{f': {scrub(said)}' if isinstance(said, str) else ''}"
        elif model is None or await _first_event(response):
            kind, detail = "ok", "" if model else "its list of models; no model is served from it"
        else:
            kind, detail = "not_streaming", f"{response.status} {response.content_type}"
        return Probe(
            upstream=name,
            model=model,
            kind=kind,
            status=response.status,
            ttft_ms=round((time.monotonic() - began) * 1000) if kind == "ok" and model else None,
            detail=detail,
            remedy=_REMEDIES.get(kind, ""),
            skew_s=skew_s,
        )


def _request(upstream: UpstreamConfig, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
        upstream.max_tokens_field or "max_tokens": _TOKENS,
    }


async def _first_event(response: aiohttp.ClientResponse) -> bool:
    """Whether an event comes. A comment is none: upstreams send them while a model is being loaded."""
    seen = b""
    async for piece in response.content.iter_any():
        seen += piece
        if seen.startswith(b"data:") or b"\ndata:" in seen:
            return True
        if len(seen) > _MOST_BYTES:
            return False
    return False


def skew_of(headers: Mapping[str, str], now_s: float) -> float | None:
    """How far the sender's clock is ahead of ours (seconds), by its Date header, which has whole seconds."""
    try:
        theirs = parsedate_to_datetime(headers["Date"]).timestamp() + 0.5
    except (KeyError, ValueError):
        return None
    return theirs - now_s


def _models_by_upstream(config: Config) -> dict[str, str]:
    """The first model that is served from each upstream, by the upstream's own name for it."""
    found: dict[str, str] = {}
    for model in Catalog(config).models.values():
        for target in model.targets:
            found.setdefault(target.upstream, target.model)
    return found
