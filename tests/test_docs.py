"""The documentation is true: its tables are the code's, its links lead somewhere, and its shell blocks run.

Elsewhere: commands (``cli/test_main.py``), admin routes (``web/console/test_documentation.py``), surfaces
(``conformance/test_dialects_doc.py``), snippets of clients (``conformance/test_snippets.py``), metrics
(``ops/test_dashboard.py``), faults (``test_reliability.py``), the quick start (``packaging/test_quickstart.py``).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrouter.config.load import load
from streamrouter.errors import RULES
from tests import reference
from tests.support.server import Server

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\]\(([^()\s]+)\)")
RUNS = re.compile(r"^<!-- runs -->\n```(?:sh|console)\n(.*?)^```", re.M | re.S)
STALE = "run `make docs` and give what is new its sentence"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def rows(page: Path) -> list[list[str]]:
    """The cells of every made table's rows."""
    tables = "".join(found[3] for found in reference.TABLE.finditer(page.read_text()))
    lines = [line for line in tables.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def is_sentence(words: str) -> bool:
    return len(words) > 5 and words.endswith(".")


# -- Configuration: every key with its type, its default and a sentence


def test_every_key_is_there_as_the_code_has_it() -> None:
    page = reference.CONFIGURATION.read_text()
    assert reference.configuration(page) == page, STALE


def test_every_table_of_the_configuration_is_there_once() -> None:
    named = [found[2] for found in reference.TABLE.finditer(reference.CONFIGURATION.read_text())]
    assert Counter(named) == Counter(struct.__name__ for struct in reference.structs())


def test_every_key_has_a_sentence() -> None:
    assert [row[0] for row in rows(reference.CONFIGURATION) if len(row) != 4 or not is_sentence(row[3])] == []


def test_a_new_key_is_a_row_without_a_sentence() -> None:
    page = re.sub(r"\| `keepalive_s` .*\n", "", reference.CONFIGURATION.read_text())
    assert "| `keepalive_s` | seconds | `15.0` |  |\n" in reference.configuration(page)


# -- Errors: every code with what happened and what to do


def test_every_code_is_there_once() -> None:
    assert Counter(row[0].strip("`") for row in rows(reference.ERRORS)) == Counter(list(RULES))


def test_every_code_is_as_the_code_has_it() -> None:
    page = reference.ERRORS.read_text()
    assert reference.errors(page) == page, STALE


def test_every_code_says_why_and_what_to_do() -> None:
    told = {row[0]: row[3:] for row in rows(reference.ERRORS)}
    assert [code for code, cells in told.items() if len(cells) != 2 or not all(map(is_sentence, cells))] == []


@pytest.mark.parametrize(
    ("code", "cells"), [("invalid_json", "400 | no"), ("overloaded", "503 | yes"), ("insufficient_balance", "402 | no")]
)
def test_what_sdks_send_again(code: str, cells: str) -> None:
    assert reference.status(code) == cells


# -- The environment, the routes and the examples


def test_every_variable_is_there() -> None:
    """``STREAMROUTER_COMPLETE`` is between the shell and ``streamrouter completion``."""
    source = [*(ROOT / "streamrouter").rglob("*.py"), *(ROOT / "streamrouter" / "configs").glob("*.toml")]
    used = set(re.findall(r"STREAMROUTER_[A-Z_]+", "".join(path.read_text() for path in source)))
    page = reference.CONFIGURATION.read_text()
    assert [name for name in used - {"STREAMROUTER_COMPLETE"} if f"`{name}`" not in page] == []


def test_every_route_of_a_surface_is_there() -> None:
    routes = re.findall(r'Route\(prefix \+ "([^"]+)"', (ROOT / "streamrouter" / "web" / "surface.py").read_text())
    told = re.findall(r"^\| `GET (\S+)` \|", (ROOT / "docs" / "clients.md").read_text(), re.M)
    assert sorted(told) == sorted(route.replace(":path", "") for route in routes)


@each_page
def test_every_example_of_a_configuration_is_right(page: Path, tmp_path: Path) -> None:
    for number, example in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)):
        path = tmp_path / f"{number}.toml"
        path.write_text(example)
        assert load(str(path), {"OPENAI_API_KEY": "sk-x", "GROQ_API_KEY": "sk-x"}, {}).config


# -- Links


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_is_found_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name})" in (ROOT / "README.md").read_text()


# -- Blocks that are marked with <!-- runs -->


RUNNABLE = [page for page in PAGES if RUNS.search(page.read_text())]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("docs")).start()
    yield server
    server.terminate()


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_its_blocks_run(page: Path, server: Server, tmp_path: Path) -> None:
    """In order, in an empty directory, against a real server."""
    script = "\n".join(RUNS.findall(page.read_text())).replace("http://127.0.0.1:8000", server.root)
    environment = {
        **server.env,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STREAMROUTER_LEDGER": str(server.ledger),
        "STREAMROUTER_PORT": "0",
        "STREAMROUTER_API_KEY": server.key,
    }
    words = ["bash", "-euxo", "pipefail", "-c", script]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_some_run() -> None:
    assert {page.name for page in RUNNABLE} >= {"quickstart.md", "upgrade-and-backup.md", "README.md"}
