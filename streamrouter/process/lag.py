"""How late the event loop is: a timer that says when it should have run and when it did.

A loop that is held up (a long prompt counted on it, a slow disk, too little CPU) delays every stream at once, and no
single request's numbers show why; ``streamrouter_loop_lag_seconds`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PERIOD_S = 0.25


class LoopLag:
    """``run`` until cancelled; ``lagged(seconds)`` is told four times a second."""

    def __init__(self, lagged: Callable[[float], None]) -> None:
        self._lagged = lagged

    async def run(self, period_s: float = PERIOD_S) -> None:
        """Measure every ``period_s`` seconds."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + period_s
            await asyncio.sleep(period_s)
            self._lagged(max(0.0, loop.time() - due))
