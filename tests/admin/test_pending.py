"""What a reload would change, as a verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamrouter.admin.verbs import AdminError, Desk, perform
from streamrouter.config.schema import Config
from tests.ledger.books import HeldClock, opened


async def test_it_is_the_running_server_that_knows(tmp_path: Path) -> None:
    told: dict[str, Any] = {"source": "s.toml", "changed": ["models.a"], "restart": [], "faults": []}

    async def pending() -> dict[str, Any]:
        return told

    async with opened(str(tmp_path / "l.db"), HeldClock()) as ledger:
        assert await perform(Desk(ledger, Config(), pending=pending), "config.pending", {}) == told
        with pytest.raises(AdminError) as refused:
            await perform(Desk(ledger, Config()), "config.pending", {})
        assert refused.value.code == "not_found"
