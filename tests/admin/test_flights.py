"""The verbs over no server; tests/web/console/test_flights.py has real requests in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrouter.admin.desk import AdminError, Desk, Recent
from streamrouter.admin.flights import STOPPED, Flights
from streamrouter.admin.verbs import perform
from streamrouter.admin.watch import Watch
from streamrouter.config.schema import Config
from tests.ledger.books import opened


async def test_where_nothing_is_served_nothing_is_in_flight(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "l.db")) as ledger:
        desk = Desk(ledger, Config())
        assert await perform(desk, "streams.list", {}) == []
        with pytest.raises(AdminError, match="in flight"):
            await perform(desk, "streams.stop", {"id": "req_1"})


def test_what_is_not_in_flight_cannot_be_stopped() -> None:
    watch = Watch(0)
    watch.recent["req_1"] = Recent(5, [])
    flights = Flights(dict, watch)
    assert (flights.listed(), flights.stop("req_1"), flights.recent("req_2")) == ([], False, None)
    assert flights.recent("req_1") == Recent(5, [])


def test_the_refusal_is_not_to_be_tried_again() -> None:
    assert (STOPPED.rule.status, STOPPED.rule.retry) == (403, False)
