"""What is asked of another process on the same database and means us too: ``key revoke --now`` stops our streams."""

from __future__ import annotations

import asyncio
from functools import partial

from streamrouter.admin.desk import StopStreams
from streamrouter.errors import Refusal
from streamrouter.ledger import administration
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.verdicts import DATABASE_ERRORS

_AGAIN_S = 1.0


class Elsewhere:
    """``run`` until cancelled. ``stop`` ends the streams of a key."""

    def __init__(self, ledger: Ledger, stop: StopStreams) -> None:
        self._ledger = ledger
        self._stop = stop
        self._revoked: asyncio.Queue[str] = asyncio.Queue()
        ledger.on_revoked = self._revoked.put_nowait

    async def run(self) -> None:
        """Look at each key that is known to be revoked now, once the ledger can be asked."""
        while True:
            key_id = await self._revoked.get()
            try:
                stopped = await self._ledger.ask(partial(administration.is_stopped, key_id=key_id))
            except (Refusal, *DATABASE_ERRORS):
                self._revoked.put_nowait(key_id)
                await asyncio.sleep(_AGAIN_S)
            else:
                if stopped:
                    self._stop(key_id)
