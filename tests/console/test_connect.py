"""The snippets of the Connect page run as they are printed, and its CORS test says how it is."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.console.browser import Desk
from tests.support.node import installed
from tests.support.rig import Rig
from tests.support.upstream import streamed

pytestmark = pytest.mark.asyncio(loop_scope="package")
PROGRAMS = {"curl": ["bash", "-c"], "python": [sys.executable, "-c"], "langchain": [sys.executable, "-c"]}
PROGRAMS["node"] = ["node", "--input-type=module", "-e"]


async def run(client: str, text: str, key: str, folder: Path) -> str:
    """What a snippet prints."""
    environment = {**os.environ, "STREAMROUTER_API_KEY": key}
    process = await asyncio.create_subprocess_exec(
        *(*PROGRAMS[client], text), cwd=folder, env=environment, stdout=-1, stderr=-1
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_each_snippet_runs_as_it_is_printed(site: Rig, admin: Desk, tmp_path: Path) -> None:
    site.upstream.script = streamed(["It", " works", "."])
    site.admin("user.set", user="default", unlimited=True)
    texts = {}
    for client in PROGRAMS:
        page = await admin.open(f"/connect?client={client}&model=test")
        texts[client] = await page.locator(".snippet pre").first.inner_text()
    folders = dict.fromkeys(texts, tmp_path) | {"node": installed()}
    runs = (run(client, text, site.server.key, folders[client]) for client, text in texts.items())
    printed = await asyncio.gather(*runs)
    for client, output in zip(texts, printed, strict=True):
        assert "It works." in output or client == "curl", client
    assert "[DONE]" in printed[0]
    for client, expected in (("llm", f"api_base: {site.server.url}"), ("open-webui", "OPENAI_API_BASE_URL")):
        page = await admin.open(f"/connect?client={client}&model=test")
        await expect(page.locator(".snippet pre").first).to_contain_text(expected)
    await admin.clean()


async def test_whether_a_browser_client_is_let_in(site: Rig, admin: Desk) -> None:
    page = await admin.open("/connect")
    await admin.press("Test from here")
    await expect(page.get_by_text("is not in cors_origins")).to_be_visible()
    await page.get_by_label("Another origin").fill("https://chat.example.org")
    await expect(page.get_by_text('cors_origins = ["https://chat.example.org"]')).to_be_visible()
    await admin.clean()
    assert admin.refusals == []
