"""One server and one scripted upstream for the tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.rig import Rig, rig
from tests.support.upstream import Seen, completion, streamed


async def answer(seen: Seen) -> None:
    """One token, whole or streamed."""
    await (streamed(["fine"], prompt=7)(seen) if seen.body["stream"] else seen.json(completion("fine", 7, 1)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A rig whose upstream answers everything."""
    async with rig(tmp_path_factory.mktemp("guarded")) as rigged:
        rigged.upstream.script = answer
        yield rigged
