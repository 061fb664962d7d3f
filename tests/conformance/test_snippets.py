"""What `streamrouter connect` prints and docs/clients.md shows is run as it is, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamrouter.config.clients import CLIENTS, rendered
from tests.support.node import installed
from tests.support.server import Server

CONFIG = '[upstreams.demo]\nbase_url = "demo:"\ndemo_ttft_ms = 0\ndemo_pace_ms = 0\n[models.demo]\n'
RUN = {
    "curl": ["bash", "-euo", "pipefail"],
    "openai-python": [sys.executable],
    "langchain": [sys.executable],
    "openai-node": ["node"],
    "vercel-ai": ["node"],
}
SUFFIX = {"curl": ".sh", "openai-python": ".py", "langchain": ".py", "openai-node": ".mjs", "vercel-ai": ".mjs"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each snippet prints; all of them run at the same time."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "node_modules").symlink_to(installed() / "node_modules")
    server = Server(folder, CONFIG).start()
    running = {}
    try:
        for name, words in RUN.items():
            script = folder / f"snippet-{name}{SUFFIX[name]}"
            script.write_text(rendered(CLIENTS[name], server.url, "demo"))
            environment = {**os.environ, "STREAMROUTER_API_KEY": server.key, "LANGSMITH_TRACING": "false"}
            running[name] = subprocess.Popen(
                [*words, str(script)],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        yield {name: process.communicate(timeout=60)[0] for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
        server.terminate()


@pytest.mark.parametrize("name", RUN)
def test_a_snippet_streams_an_answer(answers: dict[str, str], name: str) -> None:
    assert "Error" not in answers[name], answers[name]
    if name == "curl":
        assert "\n\ndata: [DONE]\n\n" in answers[name]
    else:
        assert len(answers[name].split()) > 20, answers[name]  # the demo's sentences, and nothing around them
