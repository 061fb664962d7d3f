"""``streamrouter healthcheck``: for containers and supervisors, which ask by starting a program."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from urllib.parse import urlsplit

import click

from streamrouter.cli.options import Options, Refused, common
from streamrouter.cli.output import write_json
from streamrouter.config.load import load
from streamrouter.config.schema import Config
from streamrouter.errors import ConfigError

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_MOST_BYTES = 64 * 1024


@click.command()
@click.option("--ready", is_flag=True, help="Ask /readyz: not only alive, but ready for new requests.")
@click.option("--url", metavar="URL", help="Where it listens (default: the configuration's address).")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=3.0, help="Seconds (default: 3).")
@common
def healthcheck(options: Options, ready: bool, url: str | None, timeout_s: float) -> None:
    """Exit 0 if the server answers that it is well, and 1 if it does not."""
    path = "/readyz" if ready else "/healthz"
    try:
        base = url or address_of(load(options.config, os.environ, options.overrides()).config)
    except ConfigError as error:
        raise Refused("config_invalid", str(error), as_json=options.as_json) from error
    try:
        status, body = get(base.rstrip("/") + path, timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Refused("unhealthy", f"{base}: {why}", as_json=options.as_json) from None
    if status != 200:
        reasons = ", ".join(_reasons(body)) or "no reason given"
        raise Refused("unhealthy", f"{base}{path}: {status} ({reasons})", as_json=options.as_json)
    if options.as_json:
        write_json({"ok": True, "url": base + path, "status": status})
    else:
        click.echo("ready" if ready else "ok")


def address_of(config: Config) -> str:
    """Where a server of this configuration is reached from its own machine."""
    host = _ANYWHERE.get(config.server.host, config.server.host)
    scheme = "https" if config.server.tls_cert else "http"
    return f"{scheme}://[{host}]:{config.server.port}" if ":" in host else f"{scheme}://{host}:{config.server.port}"


def get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Status and body. The certificate is not looked at: it is that of the public name, and we ask ourselves."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError("not an address that begins with http:// or https://")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout_s, context=trusting)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read(_MOST_BYTES)
    finally:
        connection.close()


def _reasons(body: bytes) -> list[str]:
    try:
        return [str(reason) for reason in json.loads(body)["reasons"]]
    except (ValueError, KeyError, TypeError):
        return []
