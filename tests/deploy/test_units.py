"""The systemd units, by systemd's own tools."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from streamrouter.config.load import load
from streamrouter.ops.meeting import SERVICE
from tests.support.ports import free_ports

UNITS = Path(__file__).parent.parent.parent / "deploy/systemd"
PROGRAM = "/opt/streamrouter/bin/streamrouter"
MOST_EXPOSURE = 15  # tenths: systemd calls up to 1.9 "OK", its best word but one for a service with a network


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The service with a program that is there, and the socket beside it."""
    text = (UNITS / "streamrouter.service").read_text()
    assert text.count(PROGRAM) == 1
    service = tmp_path / "streamrouter.service"
    service.write_text(text.replace(PROGRAM, sys.executable))
    (tmp_path / "streamrouter.socket").write_text((UNITS / "streamrouter.socket").read_text())
    return service


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30)


def test_systemd_understands_every_line(service: Path) -> None:
    done = analyze("verify", "--man=no", str(service), str(service.with_suffix(".socket")))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_tell_a_fault(service: Path) -> None:
    service.write_text(service.read_text().replace("ProtectSystem=strict", "ProtectSystem=stricter"))
    assert "Failed to parse protect system value" in analyze("verify", "--man=no", str(service)).stderr


def test_the_service_is_closed_off(service: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(service))
    assert done.returncode == 0, done.stdout


def test_a_socket_that_systemd_activates_is_served(tmp_path: Path) -> None:
    """By the tool with which units are tried out: it waits for a connection, and that is the first one to be served."""
    [port] = free_ports(1)
    words = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "--fdname=api"]
    words += [sys.executable, "-m", "streamrouter", "serve", "--ledger", str(tmp_path / "ledger.db")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log)
    try:
        while "Listening on" not in (tmp_path / "log").read_text():
            assert process.poll() is None
            time.sleep(0.01)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=20) as response:
            assert response.status == 200
        assert '"sockets":"given"' in (tmp_path / "log").read_text()
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_the_service_is_one_that_tells_keeps_and_drains() -> None:
    """What the two sides must agree about."""
    lines = (UNITS / "streamrouter.service").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert (found["Type"], found["ExecReload"], found["DynamicUser"]) == ("notify", "kill -HUP $MAINPID", "yes")
    assert int(found["FileDescriptorStoreMax"]) > 0
    assert int(found["TimeoutStopSec"].rstrip("s")) > 120 + 30  # server.drain_timeout_s, and to close the books
    assert load(str(UNITS / "streamrouter.toml"), {}, {}).config.console.enabled  # at 127.0.0.1, as the socket is
    assert "ListenStream=127.0.0.1:8000" in (UNITS / "streamrouter.socket").read_text().splitlines()
    assert found["Environment"] == f"STREAMROUTER_LEDGER=/var/lib/{found['StateDirectory']}/ledger.db"
    assert list(found).index("Environment") < list(found).index("EnvironmentFile")
    assert Path("/run") / found["RuntimeDirectory"] == SERVICE and found["RuntimeDirectoryMode"] == "0700"
