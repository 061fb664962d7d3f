"""dist/streamrouter, the one file: everything is in it, and it serves, drains and administers like the wheel."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.support.server import Server

MOST_BYTES = 30_000_000
CONFIG = """
[upstreams.main]
base_url = "demo:"
demo_ttft_ms = 0
demo_pace_ms = {pace}
[models.demo]
"""


class Standalone(Server):
    """A server that is the one file."""

    program: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(self.program), *super().command(*arguments)[3:]]


@pytest.fixture(scope="module")
def server(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """Without Python's own variables, from a directory of its own."""
    server = Standalone(tmp_path_factory.mktemp("binary"), CONFIG.format(pace=0), {"PYTHONPATH": ""})
    server.program = binary
    yield server.start()  # type: ignore[misc]
    assert server.terminate() == 0


def ask(server: Server, **more: object) -> urllib.request.Request:
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "Hello!"}], **more}).encode()
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    return urllib.request.Request(f"{server.url}/chat/completions", body, headers)


def test_its_size(binary: Path) -> None:
    assert binary.stat().st_size <= MOST_BYTES


def test_the_version_tells_its_packages(server: Standalone) -> None:
    told = json.loads(subprocess.check_output([server.program, "version", "--json"]))
    assert told["one_file"] is True
    assert [name for name, version in told["packages"].items() if version is None] == []


@pytest.mark.parametrize("words", ["--help", "check", "connect curl", "completion bash", "doctor --offline"])
def test_a_command(server: Standalone, words: str, tmp_path: Path) -> None:
    done = subprocess.run([server.program, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_it_counts_with_the_tokenizer_and_settles(server: Standalone) -> None:
    with urllib.request.urlopen(ask(server), timeout=30) as answer:
        usage = json.load(answer)["usage"]
    assert server.quiet()["output"]["used"] >= usage["completion_tokens"] > 0


def test_users_and_keys_through_the_running_server(server: Standalone) -> None:
    key = server.user("team-a", "--daily-output", "100000")
    assert server.get("/v1/models", key)[0] == 200
    [listed] = server.cli("key", "list", "team-a")
    server.cli("key", "revoke", listed["id"])
    assert server.get("/v1/models", key)[0] == 401


def test_the_console_is_in_it(server: Standalone) -> None:
    assert server.get("/console")[0] == 200
    assert server.get("/openapi.json")[0] == 200


def test_the_driver_of_postgres_is_in_it(server: Standalone, database: str) -> None:
    words = [str(server.program), "user", "create", "team-b", "--ledger", database, "--json"]
    assert json.loads(subprocess.check_output(words, cwd=server.directory, timeout=60))["user"] == "team-b"


def test_bench(server: Standalone) -> None:
    words = ["bench", server.url, "--clients", "2", "--duration", "0.3", "--json", "-"]
    environment = {"STREAMROUTER_API_KEY": server.key}
    told = subprocess.check_output([server.program, *words], env=environment, cwd=server.directory, timeout=60)
    assert json.loads(told)


def test_a_hang_up_reloads(server: Standalone) -> None:
    """The process that is started unpacks and waits; signals reach the one that serves."""
    assert server.config is not None and server.process is not None
    assert server.cli("check")
    server.config.write_text(CONFIG.format(pace=1))
    server.process.send_signal(1)
    for _ in range(100):
        if '"reloaded"' in server.log.read_text():
            break
        server.get("/healthz")
    assert '"reloaded"' in server.log.read_text()


def test_sigterm_drains(binary: Path, tmp_path: Path) -> None:
    server = Standalone(tmp_path, CONFIG.format(pace=5) + "[tracing]\nenabled = true\n", {"OTEL_SDK_DISABLED": "true"})
    server.program = binary
    server.start()
    with urllib.request.urlopen(ask(server, stream=True), timeout=30) as stream:
        stream.readline()
        assert server.terminate() == 0
        assert stream.read().endswith(b"data: [DONE]\n\n")


def test_every_file_of_the_package_is_in_it(binary: Path) -> None:
    """Names stand in the archive's table as they are; modules are in an archive of their own."""
    content = binary.read_bytes()
    files = [
        path for path in (ROOT / "streamrouter").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(files) > 20
    assert [path for path in files if str(path.relative_to(ROOT)).encode() not in content] == []


def test_the_licences_of_what_it_brings_are_in_it(binary: Path) -> None:
    content = binary.read_bytes()
    assert content.count(b".dist-info/licenses/") + content.count(b".dist-info/LICENSE") > 20
