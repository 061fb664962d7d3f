"""A real server process on a real port, and the command line against its ledger."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

KEY = re.compile(r"Key\s+(\S+)")
SETUP = re.compile(r"(https?://\S+/console/setup#t=\S+)")
API = re.compile(r"API\s+(https?://\S+)")
START_TIMEOUT_S = 20.0


class Server:
    """``streamrouter serve`` in a directory of its own. ``config``: the text of its file, None for the built-in one."""

    def __init__(self, directory: Path, config: str | None = None, env: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.config: Path | None = None
        if config is not None:
            self.config = directory / "streamrouter.toml"
            self.config.write_text(config)
        self.env = {
            name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and name != "NO_COLOR"
        }
        self.env.update(env or {})
        self.ledger = directory / "ledger.db"
        self.log = directory / "log.jsonl"
        self.url = ""  # the first surface's base URL
        self.key = ""  # the first key
        self.setup = ""  # the set-up link of the last start
        self.process: subprocess.Popen[str] | None = None

    def command(self, *arguments: str) -> list[str]:
        chosen = [] if self.config is None else ["--config", str(self.config)]
        return [sys.executable, "-m", "streamrouter", *arguments, *chosen, "--ledger", str(self.ledger)]

    def start(self) -> Server:
        """Start and wait until it listens; the first start also learns the first key."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command("serve", "--port", "0", "--json"),
                cwd=self.directory,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Try" in line:
                break
        text = "".join(lines)
        found = API.search(text)
        if found is None:
            raise AssertionError(f"the server did not start: {text}\n{self.log.read_text()}")
        self.url = found.group(1)
        setup = SETUP.search(text)
        self.setup = setup.group(1) if setup is not None else ""
        key = KEY.search(text)
        if key is not None and not self.key:
            self.key = key.group(1)
        return self

    @property
    def root(self) -> str:
        """Scheme, host and port."""
        return "/".join(self.url.split("/")[:3])

    @property
    def port(self) -> int:
        return int(self.root.rsplit(":", 1)[1])

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def cli(self, *arguments: str, check: bool = True) -> Any:
        """The command line's ``--json`` result."""
        done = subprocess.run(
            self.command(*arguments, "--json"), cwd=self.directory, env=self.env, capture_output=True, text=True
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def user(self, name: str, *options: str) -> str:
        """A new user and a key of theirs."""
        self.cli("user", "create", name, *options)
        return str(self.cli("key", "create", name)["key"])

    def usage(self, name: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = self.cli("usage", name)
        return found

    def get(self, path: str, key: str = "") -> tuple[int, bytes]:
        request = urllib.request.Request(self.root + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def requests(self) -> list[dict[str, Any]]:
        """The log's request lines."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "request"]

    def quiet(self, name: str = "default", timeout_s: float = 5.0) -> dict[str, Any]:
        """Wait until nothing of that account is in flight; its usage then."""
        end = time.monotonic() + timeout_s
        while True:
            usage = self.usage(name)
            if usage["in_flight"] == 0 or time.monotonic() > end:
                return usage
            time.sleep(0.05)

    def terminate(self, timeout_s: float = 15.0) -> int:
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        self._end(signal.SIGKILL, 15.0)

    def _end(self, number: int, timeout_s: float) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            assert process.stdout is not None
            process.stdout.close()
