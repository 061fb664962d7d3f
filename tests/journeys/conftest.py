"""One server and one scripted upstream for all tests of a file that ask for ``shared``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.rig import Rig, rig

SMALL = """
[models.small]
upstream_model = "up-model"
exact = true
context_length = 64
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prepaid(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A rig that needs a balance; its own account may do anything. ``small`` is a model of 64 tokens."""
    async with rig(tmp_path_factory.mktemp("prepaid"), billing="prepaid", more=SMALL) as rigged:
        rigged.admin("user.set", user="default", unlimited=True)
        yield rigged


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A rig as it comes, with a lease of 8 tokens and patience counted in tenths of a second."""
    async with rig(
        tmp_path_factory.mktemp("shared"),
        server="keepalive_s = 5",
        ledger="lease_tokens = 8",
        upstream="idle_s = 1.0\nfirst_byte_s = 5.0\ntotal_s = 5.0\nconnect_s = 2.0",
    ) as rigged:
        yield rigged
