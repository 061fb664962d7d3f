"""One browser for all of them; for each file a server behind a scripted upstream, and its admin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.console.browser import Desk, chromium, desk, set_up
from tests.support.node import installed
from tests.support.rig import Rig, rig

MORE = """
[models."odd/one:1"]
name = "<script>alert('name')</script>"
owned_by = "<b>owner</b>"
upstream_model = "\\u202e<svg onload=alert('target')>"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("console"), billing="prepaid", more=MORE) as rigged:
        yield rigged


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    installed()  # the browser itself, and axe
    async with chromium() as launched:
        yield launched


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def admin(site: Rig, browser: Browser) -> Desk:
    """An admin at their browser, signed in."""
    made = await desk(browser, site)
    await set_up(made)
    return made
