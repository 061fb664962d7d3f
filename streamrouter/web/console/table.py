"""The table of every route of the admin API, joined from the modules of their subjects."""

from __future__ import annotations

from streamrouter.web.console import (
    accounts,
    configuration,
    flights,
    keys,
    live,
    me,
    money,
    people,
    requests,
    series,
    sessions,
    upstreams,
)
from streamrouter.web.console.route import Route

ROUTES: tuple[Route, ...] = (
    *sessions.ROUTES,
    *people.ROUTES,
    *accounts.ROUTES,
    *keys.ROUTES,
    *money.ROUTES,
    *requests.ROUTES,
    *flights.ROUTES,
    *upstreams.ROUTES,
    *series.ROUTES,
    *live.ROUTES,
    *configuration.ROUTES,
    *me.ROUTES,
)
