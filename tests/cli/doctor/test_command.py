"""``streamrouter doctor`` as a process, on machines with faults that were planted: each is found, with what to do."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.doctor.conftest import Proxied

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
WRONG_PYTHON = (
    "import sys; sys.version_info = (3, 10, 14, 'final', 0); "
    "from streamrouter.__main__ import main; sys.argv = ['streamrouter', 'doctor', '--json']; main()"
)


class Refusing(BaseHTTPRequestHandler):
    """An upstream whose clock is an hour ahead and which takes no key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"error": {"message": "Incorrect API key provided."}}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + 3600, usegmt=True)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def run(folder: Path, *arguments: str, before: Callable[[], None] | None = None) -> tuple[int, list[dict[str, str]]]:
    """The exit code and the findings of a doctor in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-m", "streamrouter", "doctor", "--json", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=before,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)["findings"]


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_nine_faults_at_once_are_nine_findings_with_their_remedies(tmp_path: Path, refusing: str) -> None:
    with socket.socket() as taken, socket.socket() as gone:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gone.bind(("127.0.0.1", 0))  # bound and not listening: a call is refused
        port = taken.getsockname()[1]
        (tmp_path / "streamrouter.toml").write_text(
            f'[server]\nport = {port}\n[ledger]\npath = "l.db"\n'
            f'[upstreams.refusing]\nbase_url = "{refusing}"\napi_key = "sk-written-out-0123456789"\n'
            f'[upstreams.gone]\nbase_url = "http://127.0.0.1:{gone.getsockname()[1]}/v1"\n'
            f'[upstreams.self]\nbase_url = "http://localhost:{port}/v1"\n'
            '[models.a]\ntargets = [{ upstream = "refusing" }, { upstream = "gone" }]\n'
        )
        (tmp_path / "streamrouter.toml").chmod(0o644)
        (tmp_path / "l.db").write_text("not a ledger")
        (tmp_path / "l.db").chmod(0o644)
        stranger = threading.Thread(target=_hang_up, args=(taken,))
        stranger.start()
        code, findings = run(tmp_path, before=few_descriptors)
        taken.shutdown(socket.SHUT_RDWR)  # wakes its accept
        stranger.join()
    faults = {(each["check"], each["state"]): each for each in findings if each["remedy"]}
    expected = {
        ("ledger", "problem"): "restore a backup",
        ("permissions", "problem"): "chmod 600",
        ("permissions", "warning"): "streamrouter.toml",
        ("descriptors", "problem"): "ulimit -n",
        ("port", "problem"): "ss -ltnp",
        ("upstream refusing", "problem"): "api_key",
        ("upstream gone", "problem"): "firewall",
        ("upstream self", "problem"): "server.port",
        ("clock", "problem"): "set-ntp",
    }
    assert {name for name, remedy in expected.items() if remedy in faults.get(name, {}).get("remedy", "")} == set(
        expected
    )
    assert "the key is wrong" in faults["upstream refusing", "problem"]["found"]
    assert "sk-written-out" not in json.dumps(findings)
    assert code == 1


def _hang_up(listener: socket.socket) -> None:
    """Take a connection and close it, until the listener is shut down."""
    try:
        while True:
            listener.accept()[0].close()
    except OSError:
        pass


def test_a_configuration_with_faults_is_one_of_the_findings(tmp_path: Path) -> None:
    (tmp_path / "streamrouter.toml").write_text("[server]\nprot = 1\n[ledger]\ndurability = 'none'\n")
    code, findings = run(tmp_path, "--offline")
    faults = [each["found"] for each in findings if each["state"] == "problem"]
    assert [fault.split(": ")[1] for fault in faults] == ["server.prot", "ledger.durability"]
    assert code == 1


def test_a_wrong_python_is_told_before_anything_is_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", WRONG_PYTHON], cwd=tmp_path, capture_output=True, text=True
    )
    (finding,) = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["state"]) == (1, "problem")
    assert "3.10.14 is too old" in finding["found"] and "python3.12" in finding["remedy"]
    assert not [name for name in ("msgspec", "aiohttp", "tomllib") if f" {name}\n" in done.stderr]


def test_a_ledger_in_memory_and_one_on_a_disk(tmp_path: Path) -> None:
    _, findings = run(tmp_path, "--offline", "--ledger", "/dev/shm/streamrouter-doctor.db")
    found = {each["check"]: each for each in findings}
    assert (found["file system"]["state"], "a volume" in found["file system"]["remedy"]) == ("warning", True)
    assert not Path("/dev/shm/streamrouter-doctor.db").exists()  # nothing is made by looking


def test_a_running_server_behind_a_buffering_nginx(proxied: Proxied) -> None:
    done = subprocess.run(
        proxied.server.command("doctor", "--url", proxied.buffering, "--offline"),
        cwd=proxied.server.directory,
        env={**proxied.server.env, "STREAMROUTER_PORT": str(proxied.server.port)},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line for line in lines if line.startswith("PROBLEM")] == [
        line for line in lines if "proxy " in line and "holds streams back" in line
    ]
    assert "proxy_buffering off" in done.stdout
    assert "the server runs" in done.stdout
    assert "\x1b[" not in done.stdout  # a pipe
