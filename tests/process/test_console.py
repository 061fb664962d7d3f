from __future__ import annotations

from pathlib import Path

import pytest

from streamrouter.config.load import Loaded
from streamrouter.config.schema import Config, ConsoleConfig
from streamrouter.errors import ConfigError, Refusal
from streamrouter.ids import secret_hash
from streamrouter.ledger import people
from streamrouter.process.console import PAGE, console_page, is_loopback
from tests.ledger.books import opened
from tests.support.console import person


def loaded(enabled: bool = True) -> Loaded:
    return Loaded(
        config=Config(console=ConsoleConfig(enabled=enabled)), source="streamrouter.toml", warnings=[], env_providers=[]
    )


async def test_a_start_without_an_admin_makes_a_link_and_kills_the_last_one(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "l.db")) as ledger:
        first, second = [await console_page(loaded(), ledger, "127.0.0.1") for _ in range(2)]
        assert first is not None and second is not None and first != second
        assert second.startswith("/console/setup#t=")
        with pytest.raises(Refusal, match="used already"):
            await ledger.ask(lambda raw: people.look(raw, secret_hash(first.partition("=")[2]), ledger.now_ns))
        link = await ledger.ask(lambda raw: people.look(raw, secret_hash(second.partition("=")[2]), ledger.now_ns))
        assert link.purpose == "setup"


async def test_without_an_admin_only_this_machine_may_reach_it(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "l.db")) as ledger:
        with pytest.raises(ConfigError, match="no admin yet; make one first"):
            await console_page(loaded(), ledger, "0.0.0.0")
        assert await console_page(loaded(enabled=False), ledger, "0.0.0.0") is None
        await person(ledger)
        assert await console_page(loaded(), ledger, "0.0.0.0") == PAGE


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("console.example", False),
    ],
)
def test_which_addresses_only_this_machine_can_reach(host: str, own: bool) -> None:
    assert is_loopback(host) is own
