"""Upstreams, names that mean several addresses, and what stands in front of us and may hold streams back."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from msgspec import Struct

from streamrouter.cli.doctor.finding import Finding, ok, problem, warning
from streamrouter.cli.probing import Probe, skew_of
from streamrouter.web.paced import EVENTS, PATH, PERIOD_S

_CONNECT_S = 3.0
_ANSWER_S = 15.0
_SPREAD = 0.4  # of the time that the events were sent over: networks bunch a little, buffers bunch all
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})
_UNBUFFERED = "nginx: `proxy_buffering off; gzip off; proxy_http_version 1.1;`, Caddy: `flush_interval -1`"


def upstreams(probes: Iterable[Probe]) -> list[Finding]:
    """What each call of an upstream came to."""
    found = []
    for probe in probes:
        check = f"upstream {probe.upstream}"
        if not probe.ok:
            said = {"wrong_key": "the key is wrong", "unreachable": "cannot be reached"}.get(probe.kind, probe.kind)
            found.append(problem(check, f"{said} ({probe.detail})" if probe.detail else said, probe.remedy))
        elif probe.ttft_ms is not None:
            found.append(ok(check, f"first token of {probe.model} after {probe.ttft_ms} ms"))
        else:
            found.append(ok(check, probe.detail or "answers"))
    return found


def names(check: str, url: str) -> Finding | None:
    """A host name with several addresses of which only some answer: IPv6 is tried first, and fails or waits."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
    except OSError:
        return None  # that it cannot be resolved is told by the call itself
    return of_addresses(check, str(parts.hostname), port, sorted(map(str, addresses)))


def of_addresses(check: str, name: str, port: int, addresses: list[str]) -> Finding | None:
    """As ``names``, of a name that has been resolved."""
    answering = [address for address in addresses if _connects(address, port)]
    silent = [address for address in addresses if address not in answering]
    if not answering or not silent:
        return None
    remedy = f"write the address instead of the name: {answering[0]}"
    return warning(check, f"{name} is {', '.join(addresses)}, and {', '.join(silent)} does not answer", remedy)


def _connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def loops(check: str, base_url: str, host: str, port: int) -> Finding | None:
    """An upstream that is this server: requests would go round until nothing is left."""
    parts = urlsplit(base_url)
    if parts.port != port or not (parts.hostname == host or {parts.hostname, host} <= _LOCAL):
        return None
    remedy = "give the server another server.port, or the upstream its real address: local model servers like 8000 too"
    return problem(check, f"{base_url} is this server itself", remedy)


class Watched(Struct, frozen=True):
    """One look at the paced stream: its status, when each piece came (seconds from the first), what it was sent as."""

    status: int
    arrivals: list[float]
    kind: str
    encoding: str
    skew_s: float | None

    @property
    def spread_s(self) -> float:
        """From the first byte to the last."""
        return self.arrivals[-1] - self.arrivals[0] if self.arrivals else 0.0

    @property
    def held_back(self) -> bool:
        """Everything came at once, though it was sent bit by bit."""
        return self.spread_s < _SPREAD * (EVENTS - 1) * PERIOD_S


def watch(url: str) -> Watched:
    """Read a stream of events as a client does (which takes gzip). Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("not an address that begins with http:// or https://")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_ANSWER_S)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip, deflate"})
        response = connection.getresponse()
        skew_s = skew_of(dict(response.getheaders()), time.time())
        arrivals = []
        while response.read1(65536):
            arrivals.append(time.monotonic())
        return Watched(
            status=response.status,
            arrivals=[moment - arrivals[0] for moment in arrivals],
            kind=response.getheader("Content-Type") or "",
            encoding=response.getheader("Content-Encoding") or "",
            skew_s=skew_s,
        )
    finally:
        connection.close()


def in_front(url: str) -> tuple[list[Finding], float | None]:
    """Whether streams pass at the public address, with and without the header that nginx knows; and its clock."""
    base = url.rstrip("/").removesuffix("/v1") + PATH
    try:
        real, plain = watch(base), watch(base + "?plain")
    except ssl.SSLCertVerificationError as error:
        remedy = "give the proxy the whole chain of a certificate for this name"
        return [problem("proxy", f"{url}: {error.verify_message}", remedy)], None
    except (OSError, http.client.HTTPException, ValueError) as error:
        remedy = "check the name, the port, the firewall, and that the proxy in front runs"
        return [problem("proxy", f"{url} cannot be reached: {error}", remedy)], None
    return judged(url, real, plain), real.skew_s


def judged(url: str, real: Watched, plain: Watched) -> list[Finding]:
    """What the two looks mean."""
    if real.status != 200 or not real.kind.startswith("text/event-stream"):
        remedy = f"let the proxy in front pass {PATH} on to streamrouter, or correct the address"
        return [problem("proxy", f"{url} answers {real.status} {real.kind}, not a stream of ours", remedy)]
    seen = f"{EVENTS} events that were sent over {(EVENTS - 1) * PERIOD_S:.1f} s came within {real.spread_s:.2f} s"
    if real.held_back:
        return [problem("proxy", f"{url} holds streams back: {seen}", f"switch buffering off: {_UNBUFFERED}")]
    found = []
    if plain.held_back:
        remedy = f"switch it off, so that nothing depends on that header: {_UNBUFFERED}"
        found.append(warning("proxy", f"{url} buffers, and spares streams only for X-Accel-Buffering: no", remedy))
    if real.encoding:
        remedy = "leave text/event-stream out of compression (nginx: gzip_types): it may hold events back"
        found.append(warning("proxy", f"{url} compresses streams ({real.encoding})", remedy))
    return found or [ok("proxy", f"{url}: {seen}")]
