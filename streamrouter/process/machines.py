"""The listener for machines (``server.metrics_port``): metrics and probes on an address of their own, in clear text.

With it ``/metrics`` is not on the public port, so nothing in front of that one has to hide it.
"""

from __future__ import annotations

import socket

from msgspec.structs import replace
from starlette.types import ASGIApp

from streamrouter.config.schema import ServerConfig
from streamrouter.server.server import Server, listen


def listen_for_machines(config: ServerConfig) -> list[socket.socket]:
    """Its sockets; none where it is not configured. Raises OSError when the address cannot be had."""
    if config.metrics_port is None:
        return []
    return listen(config.metrics_host, config.metrics_port, config.stalled_client_s)


def machine_server(app: ASGIApp, config: ServerConfig, sockets: list[socket.socket]) -> Server:
    """Serves ``app`` on them; without sockets it serves nobody."""
    return Server(app, replace(config, tls_cert=None, tls_key=None, http2=False), sockets)
