"""Node programs beside the tests: their packages, and one process that answers many questions."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent


def installed() -> Path:
    """The folder in which ``node`` finds the npm packages; installed if they are not there or not of the lock file."""
    with (TESTS / "package.json").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # pytest-xdist runs several of us
        subprocess.run([str(TESTS / "install.sh")], check=True, capture_output=True, timeout=600)
    return TESTS


class Program:
    """A script that answers each line of JSON on its input by one line of JSON on its output."""

    def __init__(self, script: Path) -> None:
        self._process = subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=script.parent, text=True
        )

    def ask(self, question: Any) -> Any:
        """Blocks until the answer is there. A script that broke off fails the test by its empty answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the program ended; its standard error says why"
        return json.loads(answer)

    def close(self) -> None:
        with self._process as process:  # closes the pipes, which ends the script, and waits
            process.kill()
