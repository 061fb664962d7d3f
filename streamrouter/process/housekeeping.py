"""What a running server does once a minute: check its books, forget what is due, give free memory back.

A breach is an alarm, never a stop: the metric ``streamrouter_ledger_invariants`` counts them, the log names them.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

from streamrouter.errors import Refusal
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.verdicts import DATABASE_ERRORS
from streamrouter.ops.logs import Log
from streamrouter.ops.memory import trim
from streamrouter.ops.metrics import Metrics

PERIOD_S = 60.0
BREATH_S = 0.02  # between two steps of pruning: requests go first


class Housekeeping:
    """``run`` until cancelled. One round is ``once``. ``idle``: nothing is in flight, a pause would hurt nobody."""

    def __init__(self, ledger: Ledger, log: Log, metrics: Metrics, idle: Callable[[], bool] = lambda: False) -> None:
        self._ledger = ledger
        self._log = log
        self._metrics = metrics
        self._idle = idle
        self._checked_day = ledger.day

    async def run(self, period_s: float = PERIOD_S) -> None:
        """A round every ``period_s`` seconds."""
        while True:
            await asyncio.sleep(period_s)
            if self._idle():
                gc.collect()  # what dead connections left in cycles pins whole pages of free memory (measured: 20 MB)
            await asyncio.to_thread(trim)  # the C call lets go of the interpreter
            try:
                await self.once()
            except (Refusal, *DATABASE_ERRORS) as error:  # not now: the next round finds the file well, or does not
                self._log.event("warning", "housekeeping_skipped", detail=str(error))

    async def once(self) -> None:
        """Check open holds and the days touched since the last round; then prune and expire, in small steps."""
        today = self._ledger.day
        found = await self._ledger.check(whole=False, since=min(self._checked_day, today) - 1)
        self._checked_day = today
        self._metrics.invariants(len(found))
        for line in found:
            self._log.event("error", "ledger_wrong", detail=line)
        after: str | None = ""
        removed = 0
        while after is not None:
            step = await self._ledger.prune(after)
            removed, after = removed + step.removed, step.next
            await asyncio.sleep(BREATH_S)
        expired = True
        while expired:
            expired = bool(await self._ledger.expire())
            await asyncio.sleep(BREATH_S)
        if removed:
            self._log.event("info", "holds_pruned", holds=removed)
