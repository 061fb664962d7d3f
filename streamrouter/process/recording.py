"""Every few seconds: how many requests are in flight; every minute: the minute that is over, into the ledger's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamrouter.admin.watch import Watch
from streamrouter.errors import Refusal
from streamrouter.ledger import rollups
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.verdicts import DATABASE_ERRORS
from streamrouter.ops.logs import Log
from streamrouter.ops.series import MINUTE_S, STEP_S


class Recording:
    """``run`` until cancelled, then ``flush`` before the ledger closes. ``active`` is the number of requests."""

    def __init__(self, ledger: Ledger, watch: Watch, active: Callable[[], int], log: Log) -> None:
        self._ledger = ledger
        self._watch = watch
        self._active = active
        self._log = log
        self._minute = self._now_s() // MINUTE_S

    def _now_s(self) -> int:
        return self._ledger.now_ns // 1_000_000_000

    async def run(self, period_s: float = STEP_S) -> None:
        """A look every ``period_s`` seconds."""
        while True:
            await asyncio.sleep(period_s)
            await self.once()

    async def once(self) -> None:
        """Count what is in flight; write the minutes that are over. What cannot be written now is written later."""
        now_s = self._now_s()
        self._watch.series.active(now_s, self._active())
        if now_s // MINUTE_S != self._minute:
            self._minute = now_s // MINUTE_S
            await self._write(now_s, whole=True)

    async def flush(self) -> None:
        """Write the minute that is not over as well: nothing follows."""
        await self._write(self._now_s(), whole=False)

    async def _write(self, now_s: int, *, whole: bool) -> None:
        try:
            await self._ledger.act(rollups.write, self._watch.minutes(now_s, whole=whole))
        except (Refusal, *DATABASE_ERRORS) as error:
            self._log.event("warning", "rollup_skipped", detail=str(error))
        else:
            self._watch.written(now_s)
