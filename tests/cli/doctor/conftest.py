"""A real server, and a real nginx in front of it in three moods."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.server import Server

NGINX = """\
daemon off;
master_process off;
error_log stderr;
pid {folder}/nginx.pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{ports[0]};
        location / {{ proxy_pass {root}; proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; }}
    }}
    server {{
        listen 127.0.0.1:{ports[1]};
        location / {{ proxy_pass {root}; proxy_buffering on; }}
    }}
    server {{
        listen 127.0.0.1:{ports[2]};
        location / {{ proxy_pass {root}; proxy_buffering off; proxy_http_version 1.1; }}
    }}
}}
"""


class Proxied:
    """Addresses of the same server: behind buffers, behind buffers that heed the header, behind none, and itself."""

    def __init__(self, server: Server, ports: list[int]) -> None:
        self.server = server
        self.direct = server.root
        self.buffering, self.sparing, self.passing = (f"http://127.0.0.1:{port}" for port in ports)


@pytest.fixture(scope="package")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    server = Server(folder).start()
    ports = free_ports(3)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, ports=ports, root=server.root))
    log = folder / "nginx.log"
    with log.open("w") as stderr:
        process = subprocess.Popen([_nginx(), "-p", str(folder), "-c", str(config)], stderr=stderr)
    try:
        found = Proxied(server, ports)
        _until_it_answers(found.passing, process, log)
        yield found
    finally:
        process.terminate()
        process.wait()
        server.terminate()


def _nginx() -> str:
    found = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    assert found is not None, "tests/install.sh installs nginx"
    return found


def _until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            urllib.request.urlopen(url + "/healthz", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        else:
            return
