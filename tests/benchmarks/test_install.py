"""A gateway that cannot be installed is skipped with its reason; the comparison goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.compare import Comparison
from benchmarks.gateways import FLOOR, OURS, PEERS, Gateway, Running
from benchmarks.install import Skipped, run, version_of


def test_the_last_line_is_the_reason(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "import sys; print('first'); print('no such package'); sys.exit(1)"]
    with pytest.raises(Skipped, match="pip install x failed: no such package"):
        run(failing, "pip install x", tmp_path)
    with pytest.raises(Skipped, match="exit code 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], "it", tmp_path)
    with pytest.raises(Skipped, match="No such file"):
        run(["/nonexistent/program"], "it", tmp_path)


def test_versions() -> None:
    assert version_of([sys.executable, "-c", "print('nginx version: nginx/1.22.1')"]) == "1.22.1"


def test_every_gateway_says_what_it_does_and_its_version_is_pinned() -> None:
    assert [each.name for each in PEERS if not each.version] == []
    assert [each.name for each in (OURS, FLOOR, *PEERS) if not each.does] == []


def broken(directory: Path, upstream: int) -> Running:
    raise Skipped("it is broken")


def test_a_comparison_goes_on_without_it() -> None:
    said: list[str] = []
    found = Comparison([Gateway("odd", "1", "C", "nothing", broken)], 0.02, said.append).make(0)
    assert (found.skipped, found.gateways, found.rounds) == ({"odd": "it is broken"}, [], [])
    assert said == ["starting odd", "skipped odd: it is broken"]
