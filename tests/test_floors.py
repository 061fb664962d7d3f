"""Imports point down. The table is the architecture: see ARCHITECTURE.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "streamrouter"

FLOORS = {
    **dict.fromkeys(["wire", "policy", "ops", "config", "errors", "clock", "ids", "tls", "bench"], 0),
    **dict.fromkeys(["ledger", "upstream"], 1),
    "relay": 2,
    **dict.fromkeys(["gateway", "request", "admin"], 3),
    **dict.fromkeys(["web", "control"], 4),
    **dict.fromkeys(["app", "server", "process"], 5),
    **dict.fromkeys(["cli", "__main__"], 6),
}
STRANGERS = [{"ledger", "upstream"}]  # only the gateway knows both
LAZY = {"cli", "__main__"}  # `--help` in 150 ms: a command imports what it runs


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(module: str) -> str:
    """The row of the table that a module is in: ``streamrouter.ledger.rules`` → ``ledger``."""
    return module.split(".")[1] if "." in module else ""


def imports_of(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module of ours that ``tree`` imports, with the line."""
    is_package = SOURCES[module].name == "__init__.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*home, *(node.module or "").split(".")]).strip(".")
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in SOURCES else base for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "streamrouter")


TREES = {module: ast.parse(path.read_text(), str(path)) for module, path in SOURCES.items()}
IMPORTS = {module: list(imports_of(module, tree)) for module, tree in TREES.items()}


def test_every_part_has_its_floor() -> None:
    assert {part_of(module) for module in SOURCES} - {""} <= set(FLOORS)


@pytest.mark.parametrize("module", [module for module in SOURCES if part_of(module)])
def test_imports_point_down(module: str) -> None:
    wrong = [
        f"{module}:{line} imports {name}, which is above it"
        for line, name in IMPORTS[module]
        if part_of(name) and FLOORS[part_of(name)] > FLOORS[part_of(module)]
    ]
    assert wrong == []


@pytest.mark.parametrize("module", [module for module in SOURCES if part_of(module)])
def test_strangers_stay_strangers(module: str) -> None:
    strange = set().union(*(pair - {part_of(module)} for pair in STRANGERS if part_of(module) in pair))
    assert [name for _, name in IMPORTS[module] if part_of(name) in strange] == []


def test_the_package_itself_imports_nothing() -> None:
    assert IMPORTS["streamrouter"] == []


def test_no_module_imports_itself_by_a_detour() -> None:
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        assert module not in trail, "a cycle: " + " → ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for _, name in IMPORTS.get(module, []):
                if name != module:
                    visit(name, [*trail, module])
            done.add(module)

    for module in SOURCES:
        visit(module, [])


@pytest.mark.parametrize("module", [module for module in SOURCES if part_of(module) not in LAZY])
def test_imports_stand_at_the_top(module: str) -> None:
    functions = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {
        f"{module}:{node.lineno}"
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == set()
