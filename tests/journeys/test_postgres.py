"""Two processes on one Postgres database, by what their clients, their operator and the console see of it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streamrouter.control import call
from tests.support.postgres import PASSWORD, Cluster
from tests.support.server import Server

CONFIG = """
[upstreams.main]
base_url = "demo:"
demo_ttft_ms = 0
demo_pace_ms = 0
[upstreams.slow]
base_url = "demo:"
demo_ttft_ms = 0
demo_pace_ms = 100
[models.demo]
[models.slow]
targets = [{ upstream = "slow" }]
"""
WITHIN_S = 20.0


class Process(Server):
    """One of several: its ledger is the database that its environment names, in a file of its own."""

    def __init__(self, directory: Path, url: str, runtime: str) -> None:
        directory.mkdir()
        self.books = url
        (directory / "ledger-url").write_text(url + "\n")
        environment = {"STREAMROUTER_LEDGER": f"file:{directory}/ledger-url", "XDG_RUNTIME_DIR": runtime}
        super().__init__(directory, CONFIG, environment)

    def command(self, *arguments: str) -> list[str]:
        return super().command(*arguments)[:-2]

    def with_key(self, name: str, **caps: int) -> str:
        """A new user and a key of theirs, through whichever process of this machine is the youngest."""
        call(self.books, "user.create", {"user": name, **caps})
        return str(call(self.books, "key.create", {"user": name})["key"])

    def usage(self, name: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = call(self.books, "usage", {"user": name})
        return found

    def stream(self, key: str, model: str = "demo", most: int = 20) -> http.client.HTTPResponse:
        """The answer's head is here; what is refused raises urllib.error.HTTPError."""
        messages = [{"role": "user", "content": "Hello!"}]
        body = json.dumps({"model": model, "stream": True, "max_tokens": most, "messages": messages}).encode()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/chat/completions", body, headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=WITHIN_S)
        return response

    def status(self, key: str) -> int:
        """Of one whole small stream."""
        try:
            with self.stream(key) as response:
                assert response.read().endswith(b"data: [DONE]\n\n")
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def api(self, path: str, session: str, body: dict[str, str] | None = None) -> tuple[Any, str]:
        """The admin API's answer, and the cookie that it sets."""
        headers = {"Origin": self.root, "Cookie": session, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root}/admin/api{path}", data, headers)
        with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
            return json.load(response), (response.headers["Set-Cookie"] or "").partition(";")[0]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def url(postgres: Cluster) -> str:
    return postgres.database()


@pytest.fixture(scope="module")
def pair(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    """Started at once on an empty database. At the end both leave cleanly, and nothing has told the password."""
    folder = tmp_path_factory.mktemp("pair")
    with tempfile.TemporaryDirectory(prefix="sr", dir="/tmp") as runtime, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", runtime)  # where we meet them
        one, other = (Process(folder / name, url, runtime) for name in ("one", "other"))
        with ThreadPoolExecutor() as both:
            list(both.map(lambda process: process.start(), (one, other)))
        yield one, other
        assert [one.terminate(), other.terminate()] == [0, 0]
        assert len(os.listdir(Path(runtime) / f"streamrouter-{os.getuid()}")) <= 1  # what was killed has left it
        assert all(PASSWORD not in process.log.read_text() for process in (one, other))


def test_one_of_two_that_start_on_an_empty_database_makes_the_first_key(pair: tuple[Process, Process]) -> None:
    keys = [process.key for process in pair if process.key.startswith("sk-")]
    assert len(keys) == 1
    assert [process.status(keys[0]) for process in pair] == [200, 200]


def test_a_key_made_through_one_works_at_once_at_the_other_and_they_share_its_cap(
    pair: tuple[Process, Process],
) -> None:
    one, other = pair
    key = one.with_key("capped", daily_output=100)
    assert other.status(key) == 200
    assert [pair[number % 2].status(key) for number in range(6)] == [200, 200, 200, 200, 429, 429]
    assert one.usage("capped")["output"]["used"] == 100


def test_the_command_line_works_through_them_and_on_the_database_itself(
    pair: tuple[Process, Process], url: str, tmp_path: Path
) -> None:
    one, _ = pair
    key = one.with_key("paying")
    alone = Process(tmp_path / "alone", url, str(tmp_path))  # as on another machine: it finds no server's socket
    assert alone.cli("topup", "paying", "25", "--ref", "a")["balance_usd"] == "25.00"
    assert one.cli("topup", "paying", "25", "--ref", "a")["repeated"] is True
    assert alone.cli("ledger", "check")["ok"]
    done = subprocess.run(
        alone.command("ledger", "backup", str(tmp_path / "copy.db")), env=alone.env, capture_output=True, text=True
    )
    assert done.returncode == 1 and "pg_dump" in done.stderr and PASSWORD not in done.stderr
    [listed] = call(url, "key.list", {"user": "paying"})
    alone.cli("key", "revoke", listed["id"])
    assert [process.status(key) for process in pair] == [401, 401]


def test_a_key_revoked_now_loses_its_streams_in_both(pair: tuple[Process, Process]) -> None:
    one, other = pair
    key = one.with_key("leaked")
    [listed] = call(one.books, "key.list", {"user": "leaked"})
    with one.stream(key, "slow", 1000) as first, other.stream(key, "slow", 1000) as second:
        assert [stream.readline()[:5] for stream in (first, second)] == [b"data:", b"data:"]
        assert call(one.books, "key.revoke", {"id": listed["id"], "now": True})["streams_stopped"] == 1
        assert all(b"invalid_api_key" in stream.read() for stream in (first, second))
    until(lambda: one.usage("leaked")["in_flight"] == 0)


def test_tail_follows_both(pair: tuple[Process, Process]) -> None:
    one, other = pair
    key = one.with_key("watched")
    words = one.command("tail", "--user", "watched", "--count", "2", "--json")
    with subprocess.Popen(words, env=one.env, stdout=subprocess.PIPE, text=True) as tail:
        until(lambda: [process.status(key) for process in pair] and tail.poll() is not None)
        assert tail.stdout is not None
        seen = [json.loads(line) for line in tail.stdout]
    assert [line["user"] for line in seen] == ["watched", "watched"]
    assert {line["id"] for line in seen} <= {line["id"] for process in pair for line in process.requests()}
    assert other.requests()


def test_who_signs_in_at_one_is_signed_in_at_the_other(pair: tuple[Process, Process]) -> None:
    one, other = pair
    words = one.command("admin", "create", "root")
    secret = "correct horse battery\n"
    subprocess.run(words, env=one.env, input=secret, text=True, check=True, capture_output=True, timeout=WITHIN_S)
    _, session = one.api("/sign-in", "", {"name": "root", "password": secret.strip()})
    assert other.api("/session", session)[0]["person"]["name"] == "root"
    shown = other.api("/config", session)[0]["config"]["ledger"]["path"]
    assert shown.startswith("postgresql://streamrouter@127.0.0.1") and PASSWORD not in shown
    charted = other.api("/series?range=1h", session)[0]
    assert charted["step_s"] == 60 and sum(charted["series"]["requests"]) >= len(other.requests())


def test_f53_postgres_goes_away_and_comes_back(pair: tuple[Process, Process], postgres: Cluster) -> None:
    """New requests are refused and told why; a stream that is open goes on, and is charged when it is back."""
    one, other = pair
    key = one.with_key("patient")
    with other.stream(key, "slow") as stream:
        stream.readline()
        postgres.stop()
        try:
            assert [process.status(key) for process in pair] == [503, 503]
            told = json.loads(other.get("/readyz")[1])["reasons"]
            assert len(told) == 1 and told[0].startswith("ledger: ") and "127.0.0.1" not in told[0]
            assert other.get("/healthz")[0] == 200
        finally:
            postgres.start()
        until(lambda: all(process.get("/readyz")[0] == 200 for process in pair))
        assert one.status(key) == 200
        assert stream.read().endswith(b"data: [DONE]\n\n")
    until(lambda: one.usage("patient")["in_flight"] == 0)
    assert one.usage("patient")["output"]["used"] == 40
    assert call(other.books, "ledger.check", {})["ok"]


def test_f42_what_a_killed_process_left_open_is_closed_by_the_other(pair: tuple[Process, Process]) -> None:
    one, other = pair
    key = one.with_key("unlucky")
    with one.stream(key, "slow", 3000) as stream:
        stream.readline()
        assert other.usage("unlucky")["output"]["reserved"] == 3000
        one.kill()
    until(lambda: other.usage("unlucky")["in_flight"] == 0)
    used = other.usage("unlucky")["output"]
    assert (used["used"], used["reserved"]) == (256, 0)  # its lease
    one.start()
    assert one.status(key) == 200 and call(other.books, "ledger.check", {})["ok"]


def test_a_start_that_cannot_be_says_why_and_not_the_password(postgres: Cluster, url: str, tmp_path: Path) -> None:
    wrong = Process(tmp_path / "wrong", url.replace(PASSWORD, f"{PASSWORD}x"), str(tmp_path))
    done = subprocess.run(wrong.command("serve", "--port", "0"), env=wrong.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: postgresql://streamrouter@127.0.0.1:{postgres.port}/")
    assert "password authentication failed" in done.stderr and PASSWORD not in done.stderr
    assert "Traceback" not in done.stderr
    nothing = postgres.database()
    empty = Process(tmp_path / "empty", nothing, str(tmp_path))
    assert empty.cli("usage", "nobody", check=False) is None  # it makes no tables
    with postgres.connect(nothing) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
