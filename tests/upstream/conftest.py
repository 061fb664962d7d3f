from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streamrouter.config.schema import UpstreamConfig
from streamrouter.upstream.client import HttpTransport
from tests.upstream.wired import KEY, Make


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[HttpTransport] = []

    def build(url: str, **config: object) -> HttpTransport:
        fields = {"api_key": KEY, "connect_s": 1.0, **config}
        made.append(HttpTransport(UpstreamConfig(base_url=url, **fields)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for transport in made:
        await transport.close()
