"""What a running server would take over if it reloaded its configuration now: asked by ``streamrouter check``."""

from __future__ import annotations

from typing import Any

from streamrouter.admin.desk import AdminError, Args, Desk, Verb


async def _pending(desk: Desk, args: Args) -> dict[str, Any]:
    """``{"source", "changed", "restart", "faults"}``: paths of keys, or why it would not be taken over."""
    if desk.pending is None:
        raise AdminError("not_found", "no server is running, so nothing can be taken over")
    return await desk.pending()


PENDING: dict[str, Verb] = {"config.pending": Verb(Args, _pending)}
