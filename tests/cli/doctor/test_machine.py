"""The machine's judges: what is measured is an argument, so that a wrong Python can be planted."""

from __future__ import annotations

import ast
import socket
import sys
from pathlib import Path

import pytest

from streamrouter.cli import conceal, lazy, main, options, output
from streamrouter.cli.doctor import command, finding, machine
from streamrouter.config import place


@pytest.mark.parametrize(
    ("version", "implementation", "state"),
    [
        ((3, 11, 0), "cpython", "ok"),
        ((3, 10, 14), "cpython", "problem"),
        ((2, 7, 18), "cpython", "problem"),
        ((3, 11, 9), "pypy", "warning"),
    ],
)
def test_python(version: tuple[int, ...], implementation: str, state: str) -> None:
    found = machine.python(version, implementation)
    assert found.state == state
    assert ("python3.12 -m venv" in found.remedy) is (state == "problem")


def test_what_judges_python_needs_nothing_that_a_wrong_one_lacks() -> None:
    allowed = set(sys.stdlib_module_names) | {"click", "streamrouter"}
    for module in (command, machine, finding, lazy, main, options, output, conceal, place):
        tree = ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 8))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
        names = [getattr(node, "module", None) or node.names[0].name for node in imports]
        assert {str(name).split(".")[0] for name in names} <= allowed
        ours = [name for name in names if str(name).startswith("streamrouter")]
        assert {name.split(".")[1] for name in ours if name != "streamrouter.config"} <= {"cli"}  # that is place


@pytest.mark.parametrize(
    ("version", "options", "state", "told"),
    [
        ((3, 45, 0), [], "ok", ""),
        ((3, 7, 17), [], "problem", "older than 3.24"),
        ((3, 34, 1), ["ENABLE_FTS5"], "warning", "STRICT"),
        ((3, 45, 0), ["THREADSAFE=0", "OMIT_WAL"], "problem", "OMIT_WAL, THREADSAFE=0"),
    ],
)
def test_sqlite(version: tuple[int, ...], options: list[str], state: str, told: str) -> None:
    found = machine.sqlite(version, options)
    assert (found.state, bool(found.remedy)) == (state, state != "ok")
    assert told in found.found
    assert machine.sqlite_here().check == "sqlite"


@pytest.mark.parametrize(("soft", "state"), [(-1, "ok"), (65_536, "ok"), (4096, "warning"), (256, "problem")])
def test_descriptors(soft: int, state: str) -> None:
    found = machine.descriptors(soft)
    assert found.state == state
    assert ("LimitNOFILE" in found.remedy) is (state != "ok")


def test_a_port_is_free_taken_ours_or_nowhere() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        found = machine.port("127.0.0.1", number, ours=False)
        assert (found.state, "ss -ltnp" in found.remedy) == ("problem", True)
        assert machine.port("127.0.0.1", number, ours=True).state == "ok"
    assert machine.port("127.0.0.1", number, ours=False).state == "ok"
    elsewhere = machine.port("192.0.2.1", number, ours=False)
    assert (elsewhere.state, "server.host" in elsewhere.remedy) == ("problem", True)
    assert "no address" in machine.port("no such host", number, ours=False).found


@pytest.mark.parametrize(
    ("skew_s", "state", "told"),
    [
        (1.4, "ok", ""),
        (-9, "warning", "9 s ahead"),
        (3600, "problem", "3,600 s behind"),
        (-86_400, "problem", "ahead of"),
    ],
)
def test_the_clock(skew_s: float, state: str, told: str) -> None:
    found = machine.clock(skew_s, "api.example.com")
    assert (found.state, told in found.found) == (state, True)
    assert ("set-ntp" in found.remedy) is (state != "ok")
