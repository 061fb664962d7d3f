"""A transcript of a terminal: the commands of a ```console block, run in a directory, and what they show.

What differs from run to run (keys, ids, times, the port) is shown as ``…`` or as in the page; of a stream's many events
the first two and the last two are shown.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "quickstart.md"
PORT = "8000"  # what the pages say
KEPT = re.compile(r"HOME|LANG|TMPDIR|XDG_\w+|SSL_\w+|PIP_\w+|\w+_(?:proxy|PROXY)")  # of the environment
VARYING = [
    (re.compile(r"sk-[\w-]{20,}"), "sk-…"),
    (re.compile(r"#t=[\w-]+"), "#t=…"),
    (re.compile(r'"created":\d+'), '"created":…'),
    (re.compile(r"req_\w+"), "req_…"),
]


def block(name: str) -> str:
    """The transcript of the quick start that is marked so."""
    found = re.search(rf"<!-- runs: {name} -->\n```console\n(.*?)```", PAGE.read_text(), re.S)
    assert found is not None
    return found[1]


def played(name: str, directory: Path, path: Path, **more: str) -> None:
    """Run the block in a new directory. Beside it is then the page as it should be, ``quickstart.md``."""
    terminal = Terminal(directory, path, **more)
    made = terminal.play(block(name))
    assert terminal.close() == 0
    (directory.parent / "quickstart.md").write_text(PAGE.read_text().replace(block(name), made))


class Terminal:
    """One directory, one ``PATH``, and the server that runs in the background."""

    def __init__(self, directory: Path, path: Path, **more: str) -> None:
        """``path``: where programs are looked for first; ``more``: variables of the environment."""
        self._directory = directory
        self._env = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        self._env |= {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "STREAMROUTER_PORT": "0", **more}
        self._server: subprocess.Popen[str] | None = None
        self._port = PORT
        self._key = ""

    def play(self, block: str) -> str:
        """The block as it is now: each ``$ command`` and what it shows."""
        commands = re.findall(r"^\$ (.+)$", block, re.M)
        return "".join(f"$ {command}\n{self._run(command)}" for command in commands)

    def _run(self, command: str) -> str:
        command = command.replace("sk-…", self._key).replace(f":{PORT}/", f":{self._port}/")
        shown = self._serve(command) if command.endswith("serve") else self._wait(command)
        for varying, instead in [(re.compile(f":{self._port}/"), f":{PORT}/"), *VARYING]:
            shown = varying.sub(instead, shown)
        return shortened(shown)

    def _serve(self, command: str) -> str:
        log = (self._directory.parent / "stderr").open("w")
        with log:
            self._server = subprocess.Popen(
                f"exec {command}",
                shell=True,
                cwd=self._directory,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._server.stdout is not None
        lines = []
        for line in self._server.stdout:
            lines.append(line)
            if line.lstrip().startswith("Try "):
                break
        text = "".join(lines)
        told = re.search(r"API +http://[^:]+:(\d+)/.*?(sk-[\w-]+)", text, re.S)
        assert told is not None, text + Path(log.name).read_text()
        self._port, self._key = told.groups()
        return text

    def _wait(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self._directory, env=self._env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> int:
        """Ask the server to leave; its exit code."""
        assert self._server is not None and self._server.stdout is not None
        self._server.send_signal(signal.SIGTERM)
        with self._server.stdout:
            return self._server.wait(30)


def shortened(shown: str) -> str:
    """A stream with its first two and its last two events."""
    events = shown.split("\n\n")
    if len(events) > 6 and all(event.startswith("data: ") for event in events[:-1]):
        return "\n\n".join([*events[:2], "…", *events[-3:]]).rstrip("\n") + "\n"
    return shown
