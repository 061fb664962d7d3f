"""Telling an upstream to stop what it works on, where closing the connection is not enough (``cancel_path``).

Upstreams that run predictions go on when nobody listens any more. The one that took too long is named by a header: ours
that it was sent, or one that came with the beginning of its answer. The call is made in the background, once, and
what comes of it is nobody's fault but the upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp

from streamrouter.config.schema import UpstreamConfig

CANCEL_S = 5.0
_MOST_AT_ONCE = 64  # beyond that something is wrong upstream, and more calls would not help


class Canceller:
    """The cancel call of one upstream. Nothing is opened before the first one."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def begin(self, sent: Mapping[str, str], answered: Mapping[str, str]) -> None:
        """Cancel what a request with the headers ``sent`` began; ``answered``: its answer's, {} if none has come."""
        name = self._config.cancel_id
        found = answered.get(name) or sent.get(name.lower())
        if self._config.cancel_path is None or not found or len(self._calls) >= _MOST_AT_ONCE:
            return
        path = self._config.cancel_path.replace("{id}", quote(found[:200], safe=""))
        task = asyncio.create_task(self._post(self._config.base_url.rstrip("/") + path))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _post(self, url: str) -> None:
        if self._session is None:
            headers = dict(self._config.headers)
            if self._config.api_key:
                headers.setdefault("Authorization", f"Bearer {self._config.api_key}")
            timeout = aiohttp.ClientTimeout(total=CANCEL_S)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=headers, trust_env=False)
        try:
            async with self._session.post(url, allow_redirects=False):
                pass
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return  # the connection is closed anyway: that was the first word, this the second

    async def close(self) -> None:
        """Let calls that are under way finish (each is bounded), then close."""
        await asyncio.gather(*self._calls)
        if self._session is not None:
            await self._session.close()
