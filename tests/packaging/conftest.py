"""What users install, built from a copy of the tree: the wheel, an environment with it, the one file.

Each is made once in a run, whichever worker needs it first (pytest-xdist runs several of us).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.transcript import played

ROOT = Path(__file__).parent.parent.parent
Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """``once(name, make)``: the folder that ``make`` has filled, in this process or another one of the run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not folder.exists():
                folder.mkdir()
                make(folder)
        return folder

    return made


def run(*words: str | Path) -> None:
    """A program that must succeed; what it said otherwise."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    assert done.returncode == 0, done.stdout


def build_wheel(folder: Path) -> None:
    """The wheel, of nothing but what it is made from: a checkout may hold more."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "streamrouter", tree / "streamrouter", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, tree)
    shutil.rmtree(tree)


@pytest.fixture(scope="session")
def wheel(once: Once) -> Path:
    """``streamrouter-*.whl``."""
    [found] = once("wheel", build_wheel).glob("*.whl")
    return found


@pytest.fixture(scope="session")
def environment(once: Once, wheel: Path) -> Path:
    """What the quick start's commands leave behind: ``venv``, the directory ``empty``, and pip's ``report.json``."""

    def play(folder: Path) -> None:
        run(sys.executable, "-m", "venv", folder / "venv")
        (folder / "empty").mkdir()
        shutil.copy(wheel, folder / "empty")  # what was downloaded
        report = str(folder / "report.json")
        played("wheel", folder / "empty", folder / "venv" / "bin", PIP_ONLY_BINARY=":all:", PIP_REPORT=report)

    return once("environment", play)


@pytest.fixture(scope="session")
def binary(once: Once) -> Path:
    """The one file, made as ``make binary`` does."""

    def build(folder: Path) -> None:
        spec = ROOT / "deploy" / "binary" / "streamrouter.spec"
        places = ("--distpath", folder / "dist", "--workpath", folder / "work")
        run(sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", *places, spec)
        shutil.rmtree(folder / "work")

    return once("binary", build) / "dist" / "streamrouter"
