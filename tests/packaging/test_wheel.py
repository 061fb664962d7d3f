"""The wheel: what is in it, what it brings, and that it is all there far from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import ROOT
from tests.support.profile import LONG

PACKAGE = ROOT / "streamrouter"
MOST_PACKAGES = 40
MOST_BYTES = 100_000_000


@pytest.fixture
def pulled(environment: Path) -> list[dict[str, Any]]:
    """What pip installed, the wheel itself first or last."""
    report: list[dict[str, Any]] = json.loads((environment / "report.json").read_text())["install"]
    return report


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {path.relative_to(ROOT).as_posix() for path in files} - names == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_nothing_else_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if not name.startswith("streamrouter")] == []


def test_it_needs_any_python_from_3_11_and_no_platform(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")


def test_forty_packages_at_most(pulled: list[dict[str, Any]]) -> None:
    assert len(pulled) <= MOST_PACKAGES, sorted(each["metadata"]["name"] for each in pulled)


def test_no_compiler(pulled: list[dict[str, Any]]) -> None:
    assert [each["download_info"]["url"] for each in pulled if not each["download_info"]["url"].endswith(".whl")] == []


def test_how_large_it_is(environment: Path, pulled: list[dict[str, Any]]) -> None:
    [site] = (environment / "venv" / "lib").glob("python*/site-packages")
    names = {each["metadata"]["name"] for each in pulled}
    own = [path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc" and "pip" not in path.parts]
    size = sum(path.stat().st_size for path in own)
    print(f"{len(names)} packages, {size / 1e6:.0f} MB")
    assert size <= MOST_BYTES


@pytest.mark.parametrize("words", ["check", "doctor --offline", "init --yes", "version --json", "ledger check"])
def test_a_command_works_in_an_empty_directory(environment: Path, tmp_path: Path, words: str) -> None:
    """``ledger check`` has no ledger to look at, and says so."""
    program = environment / "venv" / "bin" / "streamrouter"
    done = subprocess.run([program, *words.split()], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if words == "ledger check":
        assert "there is no ledger" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not LONG, reason="a second environment, of the same packages")
def test_pipx(wheel: Path, tmp_path: Path) -> None:
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    words = [sys.executable, "-m", "pipx", "install", "--python", sys.executable, str(wheel)]
    subprocess.run(words, env={**os.environ, **places}, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    told = subprocess.check_output([tmp_path / "bin" / "streamrouter", "version"], cwd=tmp_path, text=True)
    assert told.startswith("streamrouter ")
