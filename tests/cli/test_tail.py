"""``streamrouter tail``: lines that are wanted, for people and for programs, of a server or of a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrouter.cli.tail import failed, spoken, wanted
from tests.cli.conftest import Command
from tests.support.server import Server

REQUEST: dict[str, Any] = {
    "time": "2026-11-20T15:54:01.123+00:00",
    "level": "info",
    "event": "request",
    "id": "req_1",
    "status": 200,
    "user": "bob",
    "key": "sk-…9fQ2",
    "model": "demo",
    "upstream": "main",
    "end": "stop",
    "ttft_ms": 151,
    "output_tokens": 64,
    "cost_usd": "0.00",
}
REFUSED = {"time": REQUEST["time"], "level": "info", "event": "refused", "id": "req_2", "code": "invalid_api_key"}


@pytest.mark.parametrize(
    ("line", "user", "model", "errors", "shown"),
    [
        (REQUEST, None, None, False, True),
        (REQUEST, "bob", "demo", False, True),
        (REQUEST, "eve", None, False, False),
        (REQUEST, None, "other", False, False),
        (REQUEST, None, None, True, False),
        ({**REQUEST, "status": 502}, None, None, True, True),
        (REFUSED, None, None, True, True),
        ({**REQUEST, "event": "started"}, None, None, False, False),
    ],
)
def test_which_lines_are_wanted(
    line: dict[str, Any], user: str | None, model: str | None, errors: bool, shown: bool
) -> None:
    assert wanted(line, user, model, errors) is shown


def test_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert spoken(REQUEST, colour=False) == (
        "15:54:01 200 bob sk-…9fQ2 demo main  end=stop ttft_ms=151 output_tokens=64 cost_usd=0.00 id=req_1"
    )
    assert "refused" in spoken(REFUSED, colour=False) and "code=invalid_api_key" in spoken(REFUSED, colour=False)
    assert spoken(REQUEST, colour=True).startswith("\x1b[32m")
    assert spoken({**REQUEST, "status": 502}, colour=True).startswith("\x1b[31m")
    assert spoken(REFUSED, colour=True).startswith("\x1b[33m") and failed(REFUSED)
    assert "\x1b" not in spoken({**REQUEST, "user": "\x1b[31mbob\n"}, colour=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in spoken(REQUEST, colour=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("tail")).start()
    yield server
    server.terminate()


def test_the_requests_of_a_running_server(server: Server) -> None:
    tail = subprocess.Popen(
        server.command("tail", "--count", "1", "--json", "--errors"),
        cwd=server.directory,
        env=server.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert tail.stdout is not None
    while tail.poll() is None:  # a request for each look, until one is made after it has begun to follow
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(server.url + "/chat/completions", b"{}"), timeout=5)
        refused.value.close()
        if server.log.read_text().count('"refused"') > 200:
            raise AssertionError("nothing was shown")
        try:
            tail.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    line = json.loads(tail.stdout.read())
    tail.stdout.close()
    assert (tail.returncode, line["event"]) == (0, "refused")


def test_a_file_that_is_rotated_meanwhile(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(REQUEST) + "\n")
    tail = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(log)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert tail.stdout is not None
    assert tail.stdout.readline() == "ready\n"
    with log.open("a") as file:
        file.write("not JSON\n" + json.dumps({**REQUEST, "id": "req_2"}) + "\n" + json.dumps(REQUEST)[:20])
    assert "id=req_2" in tail.stdout.readline()
    os.rename(log, tmp_path / "log.1")
    log.write_text(json.dumps({**REQUEST, "id": "req_3"}) + "\n")
    assert "id=req_3" in tail.stdout.readline()
    tail.stdout.close()
    assert tail.wait() == 0


# The first line is asked for by hand, so that the test knows that the file is being followed.
FOLLOW = """\
import sys, time
from pathlib import Path
from streamrouter.cli import tail
lines = tail._of_file(Path(sys.argv[1]))
print("ready", flush=True)
for number, line in enumerate(lines):
    print(tail.spoken(line, False), flush=True)
    if number == 1:
        break
"""


def test_where_no_server_is_there_is_nothing_to_follow(command: Command) -> None:
    command.json("user", "create", "bob")
    code, error = command.error("tail")
    assert (code, error["code"], "--file" in error["message"]) == (3, "server_unreachable", True)
    assert command.error("tail", "--file", command.ledger + ".none")[0] == 1
