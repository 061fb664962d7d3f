"""The house rules that a machine can hold. An exception is listed with its reason, and only while it is needed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "streamrouter").rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts)
PYTHON = [*SOURCE, *TESTS, *sorted((ROOT / "benchmarks").rglob("*.py"))]

LONGEST_FILE = 350
LONGEST_FUNCTION = 70

# Where anything may be caught, and why. Each such ``except`` has its reason in a comment beside it.
BORDERS: dict[str, str] = {
    "streamrouter/ledger/engine.py": "what one operation raises must not take the batch's others with it",
    "streamrouter/ledger/postgres/engine.py": "what one operation raises must not take the batch's others with it",
    "streamrouter/ledger/postgres/thread.py": "what is raised there is handed to whoever waits for it here",
    "streamrouter/policy/tokens.py": "a Rust panic in tiktoken is a BaseException that cannot be imported",
    "streamrouter/server/plain.py": "a bug in the application ends its own connection only",
    "streamrouter/web/completions.py": "a bug becomes a clean 500",
    "streamrouter/web/console/frame.py": "a bug becomes a clean 500",
}

# Modules without a test file of their own name, and what covers them instead.
COVERED_ELSEWHERE: dict[str, str] = {
    "streamrouter/request.py": "the gateway's tests and the journeys: it only holds what they look at",
    "streamrouter/upstream/exchange.py": "interfaces only; the transports' tests hold them",
    "streamrouter/__main__.py": "the journeys start it as a process",
    "streamrouter/process/run.py": "the journeys start, drain and kill it as a process",
    "streamrouter/relay/port.py": "a Struct of calls without a rule of its own: every dialogue of the relay has one",
}

UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", r"\bXX" + r"X\b"]))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_file = pytest.mark.parametrize("path", PYTHON, ids=name_of)
each_source = pytest.mark.parametrize("path", SOURCE, ids=name_of)


@each_file
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@each_file
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {(node.end_lineno or node.lineno) - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


@each_file
def test_nothing_is_unfinished(path: Path) -> None:
    assert UNFINISHED.findall(path.read_text()) == []


@each_file
def test_a_file_says_what_it_holds(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}


@each_source
def test_nothing_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"] == []


def broad_excepts(path: Path) -> list[int]:
    """The lines of every ``except`` that swallows anything: bare, Exception or BaseException, alone or in a tuple.

    One that tidies up and ends in a plain ``raise`` swallows nothing.
    """
    handlers = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)]
    return [
        handler.lineno
        for handler in handlers
        if (handler.type is None or _is_broad(handler.type))
        and not (isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None)
    ]


def _is_broad(kind: ast.expr) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_is_broad(each) for each in kind.elts)
    return isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}


@each_source
def test_only_a_border_catches_everything(path: Path) -> None:
    lines = path.read_text().splitlines()
    found = broad_excepts(path)
    if name_of(path) not in BORDERS:
        assert found == []
    for line in found:
        around = lines[max(0, line - 2) : line + 1]
        assert any("#" in text for text in around), f"{name_of(path)}:{line} does not say why"


def test_no_border_is_listed_that_is_none() -> None:
    assert [name for name in BORDERS if not broad_excepts(ROOT / name)] == []


def own_test(path: Path) -> Path:
    """streamrouter/ledger/rules.py → tests/ledger/test_rules.py"""
    inside = path.relative_to(ROOT / "streamrouter")
    return ROOT / "tests" / inside.parent / f"test_{path.stem}.py"


@each_source
def test_a_module_has_its_own_tests(path: Path) -> None:
    if path.name != "__init__.py" and name_of(path) not in COVERED_ELSEWHERE:
        assert own_test(path).is_file(), f"{name_of(own_test(path))} is missing"


def test_no_module_is_excused_without_need() -> None:
    assert [name for name in COVERED_ELSEWHERE if own_test(ROOT / name).is_file()] == []


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=name_of)
def test_a_test_file_asserts_something(path: Path) -> None:
    assert re.search(r"\bassert\b|pytest\.raises", path.read_text())
