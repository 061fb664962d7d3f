"""The table of clients, and the page of the docs that shows it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from streamrouter.config.clients import CLIENTS, rendered

PAGE = Path(__file__).parent.parent.parent / "docs" / "clients.md"
BASE = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("name", CLIENTS)
def test_the_docs_have_each_snippet_as_the_command_prints_it(name: str) -> None:
    client = CLIENTS[name]
    block = f"### {client.title}\n\n{client.place}\n\n```{client.language}\n{rendered(client, BASE, 'demo')}```\n"
    assert block in PAGE.read_text()


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.language == "python"])
def test_python_is_python(name: str) -> None:
    ast.parse(rendered(CLIENTS[name], BASE, "demo"))


def test_a_body_is_json_and_a_model_may_have_any_name() -> None:
    shown = rendered(CLIENTS["curl"], BASE, "org/model:7b")
    body = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])
    assert (body["model"], body["stream"]) == ("org/model:7b", True)


def test_no_snippet_holds_a_key() -> None:
    named = [name for name, client in CLIENTS.items() if "STREAMROUTER_API_KEY" in client.snippet]
    assert set(CLIENTS) - set(named) == {"llm", "cursor"}  # both keep keys in a store of their own
