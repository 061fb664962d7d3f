"""Where a request comes from: from a page of ours or from another one (S27-S28), and from which address (S12).

A browser sends our cookie with what *any* page asks for, as far as ``SameSite=Strict`` lets it; so whatever changes
something must also say that it comes from our own pages. A bearer token is sent by no browser on its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.types import Scope

from streamrouter.errors import Refusal
from streamrouter.web.body import header

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
COOKIE = "streamrouter_session"
SAFE = frozenset({"GET", "HEAD"})
_MOST_HOPS = 32


def check_origin(scope: Scope) -> None:
    """Refusal ``forbidden_origin`` unless an unsafe request comes from our own pages, or not from a browser at all.

    The Origin's host must be the one asked; where a browser sends none, ``Sec-Fetch-Site`` decides; a request with
    neither is a script's, which has no cookie.
    """
    if scope["method"] in SAFE:
        return
    origin, site = header(scope, b"origin"), header(scope, b"sec-fetch-site")
    if site is not None and site != b"same-origin":
        raise _foreign()
    if origin is not None:
        if not _is_ours(origin, scope):
            raise _foreign()
    elif site is None and header(scope, b"cookie") is not None:
        raise _foreign()


def _is_ours(origin: bytes, scope: Scope) -> bool:
    host = (header(scope, b"host") or b"").lower()
    scheme, _, place = origin.lower().partition(b"://")
    if scheme not in (b"http", b"https") or (scope["scheme"] == "https" and scheme != b"https"):
        return False
    usual = b":443" if scheme == b"https" else b":80"
    return bool(host) and place.removesuffix(usual) == host.removesuffix(usual)


def _foreign() -> Refusal:
    return Refusal("forbidden_origin", "This can only be done from the console's own pages, or with an admin token.")


def is_secure(scope: Scope) -> bool:
    """Whether the browser's side is encrypted: ours is, or a proxy's in front of us (the browser's Origin says so)."""
    return scope["scheme"] == "https" or (header(scope, b"origin") or b"").lower().startswith(b"https://")


def session_of(scope: Scope) -> str | None:
    """The session id in the cookie, None without one. Two different ones are none: one of them was planted."""
    found = set()
    for name, value in scope["headers"]:
        if name == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, content = pair.strip().partition("=")
                if key == COOKIE:
                    found.add(content)
    return found.pop() if len(found) == 1 else None


def networks(trusted: Sequence[str]) -> list[Network]:
    """``[console] trusted_proxies`` as networks (config/rules.py has checked them)."""
    return [ipaddress.ip_network(text, strict=False) for text in trusted]


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Who asks: the connection's address, or, if that is a trusted proxy, the last of X-Forwarded-For that is none."""
    peer = _plain(str((scope.get("client") or ("",))[0]))
    hops = [
        hop.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ][-_MOST_HOPS:]
    while hops and _is_in(peer, trusted):
        found = _address(hops.pop())
        if found is None:
            break
        peer = str(found)
    return peer


def _plain(text: str) -> str:
    """An IPv4 address as one, where a socket of both families tells it as ``::ffff:192.0.2.1``."""
    found = _address(text)
    return text if found is None else str(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_in(text: str, trusted: Sequence[Network]) -> bool:
    found = _address(text)
    return found is not None and any(found in network for network in trusted)
