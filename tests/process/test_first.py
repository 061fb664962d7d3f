"""The first account and key: made on an empty ledger, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from streamrouter.clock import SystemClock
from streamrouter.config.schema import Config, DefaultsConfig, LedgerConfig, SurfaceConfig
from streamrouter.ids import secret_hash
from streamrouter.ledger.ledger import Ledger
from streamrouter.process.first import first_key

CONFIG = Config(defaults=DefaultsConfig(daily_output=7, models=["m"]), surface=[SurfaceConfig(name="s", concurrency=3)])


async def test_an_empty_ledger_gets_an_account_and_a_key_and_no_second_one(tmp_path: Path) -> None:
    ledger = await Ledger.open(
        str(tmp_path / "l.db"), config=LedgerConfig(), clock=SystemClock(), on_fatal=lambda why: None
    )
    made = await asyncio.gather(*(first_key(ledger, CONFIG) for _ in range(3)))
    assert {name for name, _ in made} == {"default"}
    [secret] = [secret for _, secret in made if secret is not None]
    found = ledger.key_by_hash(secret_hash(secret))
    assert found is not None
    key, account = found
    assert (key.surface, key.concurrency, key.models) == ("s", 3, None)
    assert (account.daily_output, account.models, account.daily_input) == (7, ["m"], None)
    await ledger.create_account("another", {})
    assert await first_key(ledger, CONFIG) == ("another", None)
    await ledger.close()
