"""``streamrouter healthcheck``: exit 0 where the server is well, 1 where it is not, for whatever reason."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamrouter.cli.healthcheck import address_of, get
from streamrouter.config.schema import Config, ServerConfig
from tests.cli.conftest import Command


class Alive(BaseHTTPRequestHandler):
    """Alive, and not ready."""

    def do_GET(self) -> None:
        ready = self.path == "/readyz"
        body = json.dumps({"status": "x", "reasons": ["draining"] if ready else []}).encode()
        self.send_response(503 if ready else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Alive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_alive_at_the_configured_address(command: Command, url: str) -> None:
    Path(command.config).write_text(f"[server]\nport = {url.rsplit(':', 1)[1]}\n")
    assert command.text("healthcheck") == "ok\n"
    assert command.json("healthcheck", "--url", url + "/")["status"] == 200


def test_not_ready_is_1_with_the_reasons(command: Command, url: str) -> None:
    code, error = command.error("healthcheck", "--ready", "--url", url)
    assert (code, error["code"], "503 (draining)" in error["message"]) == (1, "unhealthy", True)


def test_nobody_there_is_1(command: Command) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        code, error = command.error("healthcheck", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert (code, error["code"]) == (1, "unhealthy")
    assert command.error("healthcheck", "--url", "example.com")[0] == 1


@pytest.mark.parametrize(
    ("server", "address"),
    [
        (ServerConfig(), "http://127.0.0.1:8000"),
        (ServerConfig(host="0.0.0.0", port=9), "http://127.0.0.1:9"),
        (ServerConfig(host="::", tls_cert="c", tls_key="k"), "https://[::1]:8000"),
    ],
)
def test_where_a_server_is_reached(server: ServerConfig, address: str) -> None:
    assert address_of(Config(server=server)) == address


def test_an_answer_that_is_no_json_gives_no_reasons(url: str) -> None:
    assert get(url, 3)[0] == 200
