"""The live line."""

from __future__ import annotations

import io

from rich.console import Console

from streamrouter.bench.load import Plan, run_load
from streamrouter.bench.progress import live
from tests.bench.test_load import aim


def test_it_shows_a_load_and_leaves_nothing_behind(upstream: str) -> None:
    said = io.StringIO()
    with live(Console(file=said, force_terminal=True, width=160), 2.0) as watch:
        run_load(aim(upstream, "paced"), Plan(clients=2, requests=10), watch=watch, every_s=0.001)
    assert "/2 s" in said.getvalue()
    assert "events/s" in said.getvalue()
